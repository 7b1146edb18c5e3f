"""Table models small enough to compute by hand: a network of independent normal columns, and runs of a mixture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from zoo.datasets.table_columns import Columns, ImageShape, to_json
from zoo.family import Family
from zoo.modality.table import TableControls
from zoo.modality.table_model import TableModel
from zoo.noise import Noise
from zoo.settings import Settings, setting


@dataclass(frozen=True)
class NormalConfig(Settings):
    columns: int = setting(2, help="of a row")


class Normal(nn.Module):
    """Columns are independent, with these means, (D,), and variance 1; two components, of the first column's sign."""

    def __init__(self, means: Sequence[float], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.tensor(means, dtype=dtype), requires_grad=False)
        self.asked: list[tuple[str, ...]] = []  # what was given, in every call

    def sample(self, count: int, noise: Noise, controls: TableControls) -> Iterator[torch.Tensor]:
        self.asked.append(controls.given)
        rows = noise.rows(count, "normal").normal(len(self.means)).to(self.means) + self.means
        for text in controls.given:
            column, _, value = text.partition("=")
            rows[:, int(column)] = float(value)
        yield rows * 0
        yield rows

    def log_prob(self, rows: torch.Tensor) -> torch.Tensor:
        assert rows.dtype == self.means.dtype
        return (-((rows - self.means) ** 2) / 2 - math.log(2 * math.pi) / 2).sum(dim=1)

    def predict(self, rows: torch.Tensor) -> torch.Tensor:
        return (rows[:, 0] > 0).long()

    def responsibilities(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([1 - rows[:, 0].sigmoid(), rows[:, 0].sigmoid()], dim=1)


NORMAL = Family(
    "toy-normal",
    "table",
    config="table_runs:NormalConfig",
    build="table_runs:Normal",
    controls="zoo.modality.table:TableControls",
)


def model(
    names: Sequence[str] = ("x", "y"),
    means: Sequence[float] = (0.5, -1.0),
    *,
    mean: Sequence[float] = (10.0, 100.0),
    scale: Sequence[float] = (2.0, 0.1),
    dtype: torch.dtype = torch.float64,
) -> TableModel:
    """A model of `Normal`, whose columns were trained on as (x - mean) / scale."""
    layout = Columns(tuple(names), np.array(mean), np.array(scale))
    config = NormalConfig(columns=len(names))
    return TableModel("toy", NORMAL, config, Normal(means, dtype), {}, layout=layout)


def mixture_run(
    folder: Path,
    names: Sequence[str] = ("height, in cm", "weight", "age"),
    *,
    mean: Sequence[float] = (170.0, 70.0, 40.0),
    scale: Sequence[float] = (10.0, 8.0, 20.0),
    image: ImageShape | None = None,
) -> Path:
    """A run of zoo-classic's gmm, two components, the first two columns tied to each other in each."""
    from zoo.weights.save import save
    from zoo_classic.gmm import GMM
    from zoo_classic.gmm_config import GMMConfig

    columns = len(names)
    config = GMMConfig(columns=columns, components=2)
    network = GMM(config)
    covariances = torch.eye(columns, dtype=torch.float64).repeat(2, 1, 1)
    if columns > 1:
        covariances[:, 0, 1] = covariances[:, 1, 0] = 0.8
    means = torch.tensor([[-0.5] * columns, [0.7] * columns], dtype=torch.float64)
    network.start(means, covariances, torch.tensor([0.3, 0.7], dtype=torch.float64))
    folder.mkdir(parents=True, exist_ok=True)
    save(network, folder / "model.safetensors", family="gmm", plugin="zoo-classic", config=config)
    layout = Columns(tuple(names), np.array(mean), np.array(scale), image)
    (folder / "columns.json").write_bytes(to_json(layout))
    return folder
