"""What is built, how it is fitted and what may be asked when sampling a Gaussian mixture. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.errors import UsageError
from zoo.settings import Settings, setting

COVARIANCES = ("full", "tied", "diagonal", "spherical")

# Far above any mixture that can be fitted; a file that says more is wrong or hostile, and is refused before building.
_MOST_NUMBERS = 1_000_000_000
_MOST_COLUMNS = 100_000


@dataclass(frozen=True)
class GMMConfig(Settings):
    """A mixture of Gaussians over the columns of a table, and how expectation maximisation fits it."""

    columns: int = setting(1, help="columns of the table", minimum=1, maximum=_MOST_COLUMNS)
    components: int = setting(8, help="Gaussians in the mixture", minimum=1, maximum=_MOST_COLUMNS)
    covariance: str = setting(
        "full",
        help="a matrix for each component, one tied matrix for all, a variance for each column, or a single one",
        choices=COVARIANCES,
    )
    precision: str = setting(
        "float64", help="numbers the fit computes in and the model keeps", choices=("float64", "float32")
    )
    start: str = setting("k-means++", help="how a fit begins", choices=("k-means++", "random"))
    restarts: int = setting(
        1, help="starts that are tried; the fit goes on from the likeliest", minimum=1, maximum=1_000
    )
    restart_steps: int = setting(
        10, help="steps each start is tried for when there are several", minimum=1, maximum=10_000
    )
    start_rows: int = setting(
        65_536, help="rows that are drawn from the data to begin with", minimum=1, maximum=100_000_000
    )
    relative_regularisation: float = setting(
        1e-6, help="added to every variance, as a share of its column's variance in the data", minimum=0.0
    )
    regularisation: float | None = setting(
        None,
        help="in place of the relative one: added in the square of the data's units, as scikit-learn's reg_covar",
        minimum=0.0,
    )
    tolerance: float = setting(
        1e-3,
        help="a step that changes the mean log-likelihood by less has converged",
        minimum=0.0,
        unit="nats",
    )
    batch_rows: int = setting(
        0, help="rows a step learns from; 0 means all of them", minimum=0, maximum=1_000_000_000
    )
    forgetting: float = setting(
        0.7, help="with batch_rows, step t weighs (t + 2) to the power of minus this", above=0.5, maximum=1.0
    )

    def __post_init__(self) -> None:
        numbers = self.components * (1 + self.columns) + self.components * self.columns**2
        if numbers > _MOST_NUMBERS:
            raise UsageError(
                f"{self.components} components of {self.columns} columns are {numbers:,} numbers, "
                f"but at most {_MOST_NUMBERS:,} are built"
            )
