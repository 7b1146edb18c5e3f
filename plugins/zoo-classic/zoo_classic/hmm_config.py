"""What an HMM is built from, how it is fitted and what may be asked when sampling. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.errors import UsageError
from zoo.settings import Settings, setting

# Far above any model that can be fitted; a file that says more is wrong or hostile, and is refused before building.
_MOST_NUMBERS = 1_000_000_000


@dataclass(frozen=True)
class HMMConfig(Settings):
    """The shape of a hidden Markov model and the priors of its fit.

    Pseudo-counts are what a Dirichlet prior adds to the expected counts (its parameter less 1); 0 is plain maximum
    likelihood.
    """

    states: int = setting(4, help="hidden states", minimum=1, maximum=10_000)
    emissions: str = setting(
        "gaussian", help="what a state emits", choices=("categorical", "gaussian", "poisson")
    )
    columns: int = setting(
        1, help="numbers in a frame; a categorical frame is one symbol", minimum=1, maximum=10_000
    )
    symbols: int = setting(
        2, help="different symbols, numbered from 0; categorical only", minimum=1, maximum=10_000_000
    )
    covariance: str = setting(
        "diagonal", help="of a Gaussian", choices=("full", "diagonal", "spherical", "tied")
    )
    mixtures: int = setting(1, help="Gaussians mixed in each state", minimum=1, maximum=10_000)
    transitions: str = setting(
        "full",
        help="allowed changes of state: left-to-right starts in state 0 and stays or goes one state on",
        choices=("full", "left-to-right"),
    )
    mask: tuple[str, ...] = setting(
        (), help="allowed changes of state, a row of 0 and 1 for each state, as in 110,011,001; empty: all"
    )
    start_prior: float = setting(0.0, help="pseudo-count of each first state", minimum=0.0)
    transition_prior: float = setting(0.0, help="pseudo-count of each allowed transition", minimum=0.0)
    emission_prior: float = setting(0.0, help="pseudo-count of each symbol or mixed Gaussian", minimum=0.0)
    relative_covariance_prior: float = setting(
        1e-3,
        help="added to the sum of squares that each variance is computed from, relative to its column's in the data",
        minimum=0.0,
    )
    covariance_prior: float | None = setting(
        None,
        help="in place of the relative one: added in the square of the data's units, as hmmlearn's covars_prior",
        minimum=0.0,
    )
    relative_minimum_variance: float = setting(
        1e-9, help="no variance gets below this share of its column's variance in the data", above=0.0
    )
    minimum_variance: float | None = setting(
        None, help="in place of the relative one: the least, in the square of the data's units", above=0.0
    )
    tolerance: float = setting(
        1e-6,
        help="a step that changes the mean log-likelihood of a frame by less has converged",
        minimum=0.0,
        unit="nats",
    )
    precision: str = setting(
        "float64", help="numbers the fit computes in and the model keeps", choices=("float64", "float32")
    )
    restarts: int = setting(
        1, help="starts that are tried; the fit goes on from the likeliest", minimum=1, maximum=1_000
    )
    restart_steps: int = setting(
        5, help="iterations each start is tried for when there are several", minimum=1, maximum=10_000
    )

    def __post_init__(self) -> None:
        width = self.symbols if self.emissions == "categorical" else self.mixtures * self.columns**2
        numbers = self.states * (self.states + width)
        if numbers > _MOST_NUMBERS:
            raise UsageError(
                f"{self.states} states of this size are {numbers:,} numbers, but at most {_MOST_NUMBERS:,} are built"
            )
        if self.mask and self.transitions != "full":
            raise UsageError("mask and transitions=left-to-right exclude each other: give one of them")
        if self.mask and len(self.mask) != self.states:
            raise UsageError(
                f"mask has {len(self.mask)} rows, but must have one for each of {self.states} states"
            )
        for number, row in enumerate(self.mask):
            if len(row) != self.states or set(row) - {"0", "1"} or "1" not in row:
                raise UsageError(
                    f"mask: row {number} is {row!r}, but must be {self.states} digits 0 or 1, at least one of them 1"
                )
        if self.emissions == "categorical" and self.columns != 1:
            raise UsageError(f"columns is {self.columns}, but must be 1 for categorical emissions")
        if self.emissions != "gaussian" and self.mixtures != 1:
            raise UsageError(f"mixtures is {self.mixtures}, but must be 1 for {self.emissions} emissions")
