"""What a Gaussian mixture has learned: its components, the heaviest first."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.modality.description import Description
from zoo_classic import descriptions as say
from zoo_classic.gaussians import expanded
from zoo_classic.gmm import GMM


def describe(
    network: GMM, names: Sequence[str] = (), mean: Sequence[float] = (), scale: Sequence[float] = ()
) -> Description:
    """A row for each component: its weight, and mean and standard deviation of the columns that tell them apart best.

    names: of the columns. mean, scale: (D,), where rows were scaled for the network; see `zoo.family.Family`.
    """
    weights, means = network.weights.double().cpu(), network.means.double().cpu()
    matrices = expanded(network.covariances.double().cpu(), network.config.covariance, means)
    deviations = matrices.diagonal(dim1=1, dim2=2).sqrt()
    chosen = say.telling(weights, means, deviations)
    means, deviations = say.in_units(means, deviations, mean, scale)
    order = weights.argsort(descending=True, stable=True).tolist()[: say.MOST_ROWS]
    heads = ("component", "weight")
    every = say.named(names, means.shape[1])
    columns = say.unlike([every[column] for column in chosen], heads)
    rows = tuple(
        (
            str(component),
            say.percent(float(weights[component])),
            *(
                say.spread(float(means[component, column]), float(deviations[component, column]))
                for column in chosen
            ),
        )
        for component in order
    )
    title = say.titled("components", len(order), len(weights), len(chosen), means.shape[1])
    return Description(title, (*heads, *columns), rows, (*heads, *columns))
