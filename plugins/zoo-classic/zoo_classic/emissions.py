"""What a state emits: the interface that the recursions use, and symbols and counts. Gaussians: `gaussian_emissions`.

Shapes: N frames, S states, V symbols, D columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from zoo.errors import DataError, UsageError
from zoo.noise import Noise, Rows
from zoo_classic import kmeans
from zoo_classic.frame_sums import sums_by
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.packed import Packed


@dataclass(frozen=True)
class Seen:
    """Frames as an emission computes with them, made once for many iterations.

    features: (N, F), or (N,) symbols. shift: (D,) what was taken from the frames first, so that squares stay exact.
    """

    features: torch.Tensor
    shift: torch.Tensor


class Emissions(Protocol):
    """P(frame | state), its expected statistics and what maximises it. Parameters want no gradients."""

    def shift(self) -> torch.Tensor:
        """(D,) a point amid the means, for `see`; one 0 where nothing is shifted."""
        ...

    def see(self, packed: Packed, shift: torch.Tensor) -> Seen:
        """Raises DataError, naming sequence and frame, for values that no state can emit."""
        ...

    def log_density(self, seen: Seen) -> torch.Tensor:
        """ln P(frame | state), (N, S), in nats."""
        ...

    def likelihood(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        """P(frame | state) over a number of the frame's own, (N, S), and that number's logarithm, (N,) or (1,)."""
        ...

    def statistics(self, seen: Seen, posterior: torch.Tensor) -> torch.Tensor:
        """What `update` needs of these frames, given P(state | sequence) (N, S); sums over frames."""
        ...

    def variance(self, packed: Packed) -> torch.Tensor:
        """(D,) of the columns of some of the data, which priors are shares of; one 1 where nothing has a size."""
        ...

    def update(self, statistics: torch.Tensor, shift: torch.Tensor, variance: torch.Tensor) -> None:
        """The M step, from sums of `statistics` in float64. What no frame speaks for stays as it is."""
        ...

    def begin(self, packed: Packed, noise: Noise) -> None:
        """Parameters to start a fit from, out of some sequences."""
        ...

    def begin_from(self, packed: Packed, states: torch.Tensor, noise: Noise) -> None:
        """As `begin`, given the state (N,) of each frame."""
        ...

    def draw(self, states: torch.Tensor, choices: Rows, values: Rows) -> torch.Tensor:
        """A frame for each of states (B, T), on the CPU: (B, T) or (B, T, D). A row has generators of its own."""
        ...

    def mean(self) -> torch.Tensor:
        """The expected frame in each state, (S, D); or P(symbol), (S, V), where they are categorical."""
        ...

    @property
    def free_parameters(self) -> int:
        """How many numbers a fit chooses: those that follow from others, as probabilities sum to 1, left out."""
        ...

    def check(self) -> None:
        """Raises UsageError when the parameters are none."""
        ...


def relative(log_density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """exp of (N, S) with each row's largest made 1, and the logarithm of what it was, (N,). Overwrites (N, S)."""
    largest = log_density.amax(1).clamp_min_(torch.finfo(log_density.dtype).min)  # -inf - -inf would be NaN
    return log_density.sub_(largest[:, None]).exp_(), largest


def refuse(wrong: torch.Tensor, packed: Packed, values: torch.Tensor, why: str) -> None:
    """Raises DataError for the first frame of those that are wrong, (N,) or (N, D)."""
    if not wrong.any():
        return
    per_frame = wrong.flatten(1).any(1) if wrong.dim() > 1 else wrong
    at = int(per_frame.nonzero()[0])
    sequence, frame = packed.place(at)
    shown = values[at][wrong[at]][0].item() if wrong.dim() > 1 else values[at].item()
    text = f"{shown:g}" if isinstance(shown, float) else str(shown)
    raise DataError(f"sequence {sequence}, frame {frame} is {text}, but {why}")


def require_rows_sum_to_one(table: torch.Tensor, name: str) -> None:
    """Raises UsageError unless every row of (..., K) is a distribution."""
    sums = table.sum(-1)
    close = torch.isclose(sums, torch.ones_like(sums), rtol=0, atol=1e-5)
    if not (bool(torch.isfinite(table).all()) and bool((table >= 0).all()) and bool(close.all())):
        raise UsageError(
            f"{name} has a row that is no distribution: entries must be at least 0 and sum to 1",
            hint="divide each row by its sum",
        )


class Categorical(nn.Module):
    """One of V symbols. probabilities: (S, V)."""

    def __init__(self, config: HMMConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.prior = config.emission_prior
        table = torch.full((config.states, config.symbols), 1 / config.symbols, dtype=dtype)
        if not table.is_meta:  # else weights will be assigned
            table.uniform_(0.5, 1.5)
            table /= table.sum(1, keepdim=True)
        self.probabilities = nn.Parameter(table, requires_grad=False)

    def shift(self) -> torch.Tensor:
        return self.probabilities.new_zeros(1)

    def see(self, packed: Packed, shift: torch.Tensor) -> Seen:
        frames = packed.frames
        if frames.dim() == 2 and frames.shape[1] == 1:
            frames = frames[:, 0]
        if frames.dim() != 1:
            raise DataError(f"a frame has {frames.shape[1]} columns, but must be one symbol")
        if frames.is_floating_point():
            refuse(frames != frames.floor(), packed, frames, "symbols are whole numbers")
        symbols = self.probabilities.shape[1]
        refuse((frames < 0) | (frames >= symbols), packed, frames, f"the symbols are 0 to {symbols - 1}")
        return Seen(frames.long(), shift)

    def log_density(self, seen: Seen) -> torch.Tensor:
        return self.probabilities.t().log().contiguous().index_select(0, seen.features)

    def likelihood(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        table = self.probabilities.t().contiguous()  # (V, S)
        return table.index_select(0, seen.features), table.new_zeros(1)

    def statistics(self, seen: Seen, posterior: torch.Tensor) -> torch.Tensor:
        return sums_by(seen.features, posterior, self.probabilities.shape[1])  # (V, S)

    def variance(self, packed: Packed) -> torch.Tensor:
        del packed  # symbols have no size
        return self.probabilities.new_ones(1)

    def update(self, statistics: torch.Tensor, shift: torch.Tensor, variance: torch.Tensor) -> None:
        del shift, variance
        counts = statistics.t() + self.prior
        total = counts.sum(1, keepdim=True)
        self.probabilities.copy_(torch.where(total > 0, counts / total, self.probabilities.to(counts.dtype)))

    def begin(self, packed: Packed, noise: Noise) -> None:
        """The symbols' frequencies, each state's times exponential noise: nearly equal states would part slowly."""
        uniform = noise.rows(1, "hmm symbols").uniform(*self.probabilities.shape)[0]
        factors = 1e-3 - (1 - uniform).log()  # what starts at 0 would stay there
        self._set(self._frequencies(packed) * factors.to(self.probabilities))

    def begin_from(self, packed: Packed, states: torch.Tensor, noise: Noise) -> None:
        """Counts of the symbols in each state, smoothed by their frequencies."""
        del noise  # nothing is drawn
        seen = self.see(packed, self.shift())
        chosen = nn.functional.one_hot(states, len(self.probabilities)).to(self.probabilities)
        counts = self.statistics(seen, chosen).t()
        self._set(counts + self._frequencies(packed) * (1 + counts.sum(1, keepdim=True)))

    def _frequencies(self, packed: Packed) -> torch.Tensor:
        symbols = self.see(packed, self.shift()).features
        counts = torch.bincount(symbols, minlength=self.probabilities.shape[1]).to(self.probabilities)
        return (counts + 1) / (counts + 1).sum()

    def _set(self, weights: torch.Tensor) -> None:
        self.probabilities.copy_(weights / weights.sum(1, keepdim=True))

    def draw(self, states: torch.Tensor, choices: Rows, values: Rows) -> torch.Tensor:
        del values  # a symbol is a choice
        return choose(self.probabilities.double().cpu(), states, choices.uniform(states.shape[1]))

    def mean(self) -> torch.Tensor:
        return self.probabilities.detach()

    @property
    def free_parameters(self) -> int:
        states, symbols = self.probabilities.shape
        return states * (symbols - 1)

    def check(self) -> None:
        require_rows_sum_to_one(self.probabilities, "probabilities")


class Poisson(nn.Module):
    """D independent counts. rates: (S, D), the mean counts."""

    def __init__(self, config: HMMConfig, dtype: torch.dtype) -> None:
        super().__init__()
        rates = torch.empty(config.states, config.columns, dtype=dtype).uniform_(0.5, 1.5)
        self.rates = nn.Parameter(rates, requires_grad=False)

    def shift(self) -> torch.Tensor:
        return self.rates.new_zeros(1)

    def see(self, packed: Packed, shift: torch.Tensor) -> Seen:
        frames = as_columns(packed.frames, self.rates.shape[1]).to(self.rates)
        wrong = ~torch.isfinite(frames) | (frames < 0) | (frames != frames.floor())
        refuse(wrong, packed, frames, "counts are whole numbers of at least 0")
        constant = -torch.lgamma(frames + 1).sum(1, keepdim=True)
        return Seen(torch.cat((frames, constant), 1), shift)

    def log_density(self, seen: Seen) -> torch.Tensor:
        columns = self.rates.shape[1]
        counts, constant = seen.features[:, :columns], seen.features[:, columns:]
        tiny = torch.finfo(self.rates.dtype).tiny
        by_rates = torch.addmm(constant - self.rates.sum(1), counts, self.rates.clamp_min(tiny).log().t())
        never = (self.rates == 0).to(counts)  # a rate of 0 emits nothing but 0
        return by_rates.masked_fill_(counts @ never.t() > 0, -torch.inf) if bool(never.any()) else by_rates

    def likelihood(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        return relative(self.log_density(seen))

    def statistics(self, seen: Seen, posterior: torch.Tensor) -> torch.Tensor:
        counts = posterior.t() @ seen.features[:, : self.rates.shape[1]]
        return torch.cat((counts, posterior.sum(0)[:, None]), 1)

    def variance(self, packed: Packed) -> torch.Tensor:
        del packed  # counts are as large as they are
        return self.rates.new_ones(1)

    def update(self, statistics: torch.Tensor, shift: torch.Tensor, variance: torch.Tensor) -> None:
        del shift, variance
        counts, total = statistics[:, :-1], statistics[:, -1:]
        self.rates.copy_(torch.where(total > 0, counts / total, self.rates.to(counts.dtype)))

    def begin(self, packed: Packed, noise: Noise) -> None:
        frames = as_columns(packed.frames, self.rates.shape[1]).double()
        roots = frames.sqrt()  # whose variance hardly depends on the rate
        states = kmeans.cluster(roots, torch.ones_like(roots[:, 0]), len(self.rates), noise)
        self.begin_from(packed, states, noise)

    def begin_from(self, packed: Packed, states: torch.Tensor, noise: Noise) -> None:
        del noise  # nothing is drawn
        seen = self.see(packed, self.shift())
        chosen = nn.functional.one_hot(states, len(self.rates)).to(self.rates)
        self.update(self.statistics(seen, chosen).double(), seen.shift, self.variance(packed))
        overall = seen.features[:, : self.rates.shape[1]].mean(0)
        self.rates.copy_(0.95 * self.rates + 0.05 * overall)  # no rate of 0, which could never grow

    def draw(self, states: torch.Tensor, choices: Rows, values: Rows) -> torch.Tensor:
        """The smallest count whose cumulative probability exceeds a uniform draw, found by halving."""
        del choices
        rates = self.rates.double().cpu()[states]  # (B, T, D)
        uniform = values.uniform(*rates.shape[1:])
        low = torch.full_like(rates, -1)
        high = (rates + 40 * rates.sqrt() + 60).ceil()  # beyond what a uniform of 53 bits can reach
        while bool((high - low > 1).any()):
            middle = ((low + high) / 2).floor()
            reached = torch.special.gammaincc(middle + 1, rates) > uniform  # P(count <= middle)
            wide = high - low > 1
            high = torch.where(wide & reached, middle, high)
            low = torch.where(wide & ~reached, middle, low)
        return high.long()

    def mean(self) -> torch.Tensor:
        return self.rates.detach()

    @property
    def free_parameters(self) -> int:
        return self.rates.numel()

    def check(self) -> None:
        if not (bool(torch.isfinite(self.rates).all()) and bool((self.rates >= 0).all())):
            raise UsageError("rates must be finite and at least 0")


def as_columns(frames: torch.Tensor, columns: int) -> torch.Tensor:
    """(N,) or (N, D) as (N, D). Raises DataError when D is another."""
    frames = frames[:, None] if frames.dim() == 1 else frames
    if frames.shape[1] != columns:
        raise DataError(f"a frame has {frames.shape[1]} columns, but the model has {columns}")
    return frames


def choose(table: torch.Tensor, rows: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """For each of rows (...), an entry of that row of table (K, V) with its probability. uniform: (...) in [0, 1)."""
    cumulative = table.cumsum(1)
    cumulative = cumulative / cumulative[:, -1:]  # the last is 1 exactly, so that a draw never passes it
    return torch.searchsorted(cumulative[rows], uniform[..., None], right=True)[..., 0]
