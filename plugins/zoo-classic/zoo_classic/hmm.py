"""Hidden Markov models: a chain of hidden states, each of which emits a frame; fitted by Baum-Welch.

Source: Baum et al., "A maximization technique occurring in the statistical analysis of probabilistic functions of
Markov chains", 1970; notation of Rabiner, "A tutorial on hidden Markov models", 1989.

Shapes: B sequences of at most T frames, N frames in all, D columns, S states. A batch of sequences is a mapping:
"values" (B, T) or (B, T, D), padded at the end with anything, and "lengths" (B,).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from zoo.datasets.material import Passes
from zoo.errors import DataError, UsageError, ZooWarning
from zoo.modality.sequence import SequenceControls
from zoo.noise import Noise
from zoo_classic import hmm_start, recursions
from zoo_classic.denormals import flushed
from zoo_classic.emissions import Categorical, Poisson, Seen, require_rows_sum_to_one
from zoo_classic.forward_backward import Expected
from zoo_classic.gaussian_emissions import Gaussian
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.hmm_draw import continued
from zoo_classic.packed import Packed, packs
from zoo_classic.seen_passes import SeenPasses

Batch = Mapping[str, Any]

_NUMBERS = 1 << 25  # that one part of a batch may take: 256 MiB in float64
_SEQUENCES = 4096  # asked for at once
_EMISSIONS: dict[str, type[Categorical | Gaussian | Poisson]] = {
    "categorical": Categorical,
    "gaussian": Gaussian,
    "poisson": Poisson,
}
_EMPTY = 1e-3  # expected frames, with fewer of which nothing is left to learn a state from


class HMM(nn.Module):
    """start: (S,) probabilities of the first state. transition: (S, S), from row to column.

    fitted: whether a fit goes on from the parameters; those of a new model say nothing yet. assigned: the names of
    those that a person gave it.
    """

    fitted: torch.Tensor
    assigned: frozenset[str] = frozenset()

    def __init__(self, config: HMMConfig) -> None:
        super().__init__()
        self.config = config
        dtype = {"float64": torch.float64, "float32": torch.float32}[config.precision]
        states = config.states
        self.start = nn.Parameter(torch.full((states,), 1 / states, dtype=dtype), requires_grad=False)
        self.transition = nn.Parameter(
            torch.full((states, states), 1 / states, dtype=dtype), requires_grad=False
        )
        if not self.start.is_meta:  # else weights will be assigned
            self.start.copy_(hmm_start.allowed_start(config))
            allowed = hmm_start.allowed_transitions(config).to(dtype)
            self.transition.copy_(allowed / allowed.sum(1, keepdim=True))
        self.emissions = _EMISSIONS[config.emissions](config, dtype)
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def assign(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set parameters by their names in `state_dict`; a fit then starts from them.

        What of a new model's emissions is not given, such as covariances, the fit finds in the data.
        Raises UsageError for unknown names, other shapes, rows that do not sum to 1, transitions that the mask
        forbids and covariances that are not positive definite.
        """
        own = dict(self.named_parameters())
        for name, tensor in tensors.items():
            if name not in own:
                raise UsageError(f"there is no parameter {name!r}; there are {', '.join(own)}")
            if tensor.shape != own[name].shape:
                raise UsageError(
                    f"{name} has shape {tuple(tensor.shape)}, but must have {tuple(own[name].shape)}"
                )
        before = {name: own[name].clone() for name in tensors}
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
        try:
            self.check()
        except UsageError:
            for name, old in before.items():
                own[name].copy_(old)
            raise
        if self.assigned or not bool(self.fitted):
            self.assigned |= tensors.keys()
        self.fitted.fill_(True)

    def check(self) -> None:
        """Raises UsageError when the parameters are no model, such as a start that does not sum to 1."""
        require_rows_sum_to_one(self.start[None], "start")
        require_rows_sum_to_one(self.transition, "transition")
        forbidden = (self.transition > 0).cpu() & ~hmm_start.allowed_transitions(self.config)
        if bool(forbidden.any()):
            here, there = forbidden.nonzero()[0].tolist()
            raise UsageError(f"transition from state {here} to {there} is above 0, but the mask forbids it")
        self.emissions.check()

    # Fitting

    def fit(
        self, data: Passes, noise: Noise, state: dict[str, torch.Tensor]
    ) -> Iterator[Mapping[str, float]]:
        """Baum-Welch, one iteration a step; see `zoo.protocols.Fittable`. A new model starts from the data.

        Yields "log_likelihood" of a sequence and "per_frame", means in nats under the parameters before the step;
        "converged": 1 when the latter changed by less than the tolerance since the step before; "empty_states": how
        many no frame speaks for, of which a ZooWarning tells.
        Raises DataError for frames that no state can emit.
        """
        if data.rows < 1:
            raise DataError("there are no sequences to fit")
        if "variance" not in state:  # a new fit, or one that was begun before it was measured
            packed = hmm_start.some(data, noise, self.start.device)
            state["variance"] = self.emissions.variance(packed)
            if "shift" not in state:
                self._begin(data, packed, noise, state)
        for name in ("shift", "variance"):
            state[name] = state[name].to(self.start.device)  # those of a checkpoint may be elsewhere
        passes = self.passes(data, state["shift"], state["variance"])
        while True:
            told = self.improve(passes)
            change = abs(told["per_frame"] - float(state["last"]))  # not a number at the first step
            state["last"].fill_(told["per_frame"])
            converged = change < self.config.tolerance
            self._tell(told["empty_states"], state, converged=converged)
            yield told | {"converged": float(converged)}

    def _begin(self, data: Passes, packed: Packed, noise: Noise, state: dict[str, torch.Tensor]) -> None:
        hmm_start.warn_of_few(self, data, packed)
        if bool(self.fitted):
            self.check()
            hmm_start.complete(self, packed, noise)
            self.assigned = frozenset()
        else:
            hmm_start.begin(self, data, packed, state["variance"], noise)
            self.fitted.fill_(True)
        state["shift"] = self.emissions.shift().clone()
        state["last"] = torch.full((), torch.nan, dtype=torch.float64)

    def _tell(self, empty: float, state: dict[str, torch.Tensor], *, converged: bool) -> None:
        """Warn of the first states that no frame speaks for, and of all of them at the end when there are more."""
        told = state.setdefault("empty_states", torch.zeros((), dtype=torch.float64))
        if empty > float(told) and (not told or converged):
            told.fill_(empty)
            states = self.config.states
            warnings.warn(
                f"{empty:.0f} of {states} states have no frames left and stay as they are: "
                f"config.states={states - empty:.0f} does without them, config.restarts tries other starts",
                ZooWarning,
                stacklevel=3,
            )

    def passes(self, data: Passes, shift: torch.Tensor, variance: torch.Tensor) -> SeenPasses:
        """The data as the emissions compute with it, kept from pass to pass where it fits."""
        return SeenPasses(data, self.emissions, shift, variance, self._most_frames(), _SEQUENCES)

    @torch.no_grad()
    @flushed()
    def improve(self, passes: SeenPasses) -> dict[str, float]:
        """One iteration: the expected counts of all data, then the parameters that these make likeliest."""
        states = self.config.states
        first = self.start.new_zeros(states, dtype=torch.float64)
        changes = first.new_zeros(states, states)
        emitted: torch.Tensor | None = None
        measured = first.new_zeros(2)  # the sum of log-likelihoods, and frames
        for packed, seen in passes:
            expected = self._expected(packed, seen)
            self._require_possible(
                expected.log_likelihood, packed, "under the parameters the fit starts from"
            )
            starts = packed.starts[:-1].to(expected.posterior.device)
            first += expected.posterior.index_select(0, starts).sum(0)
            changes += expected.transitions
            part = self.emissions.statistics(seen, expected.posterior).double()
            emitted = part if emitted is None else emitted + part
            frames = expected.log_likelihood.new_tensor([len(expected.posterior)])
            measured += torch.cat((expected.log_likelihood.sum(0, keepdim=True), frames))
        if emitted is None:  # a share without sequences
            emitted = self._nothing(passes)
        parts = (first, changes, emitted, measured)
        summed = passes.data.total(torch.cat([part.flatten() for part in parts]))
        first, changes, emitted, measured = (
            part.view(like.shape)
            for part, like in zip(
                summed.split_with_sizes([part.numel() for part in parts]), parts, strict=True
            )
        )
        self._maximise(first, changes)
        self.emissions.update(emitted, passes.shift, passes.variance)
        log_likelihood, frames = measured.tolist()
        return {
            "log_likelihood": log_likelihood / passes.data.rows,
            "per_frame": log_likelihood / frames,
            "empty_states": float((first + changes.sum(0) < _EMPTY).sum()),
        }

    def _expected(self, packed: Packed, seen: Seen, *, transitions: bool = True) -> Expected:
        likelihood = self.emissions.likelihood(seen)
        return recursions.expected(
            self.start,
            self.transition,
            likelihood,
            lambda: self.emissions.log_density(seen),
            packed,
            transitions=transitions,
        )

    def _require_possible(self, log_likelihood: torch.Tensor, packed: Packed, what: str) -> None:
        """Raises DataError for the first of packed sequences whose log-likelihood, (B,), is minus infinity."""
        impossible = (log_likelihood == -math.inf).nonzero().flatten().tolist()
        if impossible:
            number = min(map(packed.number, impossible))
            raise DataError(
                f"sequence {number} has probability 0 {what}",
                hint="it has a frame or a step that the model excludes: leave it out, or fit with "
                "emission_prior and transition_prior above 0",
            )

    def _nothing(self, passes: SeenPasses) -> torch.Tensor:
        """The emissions' statistics of no frames at all."""
        packed, seen = passes.one()
        none = torch.zeros(len(packed.frames), self.config.states).to(self.start)
        return self.emissions.statistics(seen, none).double()

    def _maximise(self, first: torch.Tensor, changes: torch.Tensor) -> None:
        """start and transition from expected counts and pseudo-counts; a state never left keeps its row."""
        config = self.config
        first = first + config.start_prior * hmm_start.allowed_start(config).gt(0).to(first)
        self.start.copy_(first / first.sum())
        allowed = hmm_start.allowed_transitions(config).to(changes)
        changes = changes + config.transition_prior * allowed
        left = changes.sum(1, keepdim=True)
        self.transition.copy_(
            torch.where(left > 0, changes / left.clamp_min(1e-300), self.transition.to(changes))
        )

    # What a fitted model tells

    @torch.no_grad()
    def log_prob(self, batch: Batch) -> torch.Tensor:
        """ln P(sequence), (B,), in nats, float64; minus infinity where it is impossible."""
        out = torch.empty(len(batch["lengths"]), dtype=torch.float64, device=self.start.device)
        for packed, seen in self._seen(batch):
            packed.placed(self._filtered(packed, seen)[1], out)
        return out

    @torch.no_grad()
    def posterior(self, batch: Batch) -> torch.Tensor:
        """P(state at t | sequence), (B, T, S); 0 after a sequence's end.

        Raises DataError for a sequence that is impossible.
        """
        out = self.start.new_zeros(*batch["values"].shape[:2], self.config.states)
        for packed, seen in self._seen(batch):
            expected = self._expected(packed, seen, transitions=False)
            self._require_possible(
                expected.log_likelihood, packed, "under the model: its states have no posterior"
            )
            packed.unpacked(expected.posterior, out)
        return out

    @torch.no_grad()
    def viterbi(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The most probable states, (B, T), -1 after a sequence's end; and ln P(states, sequence), (B,), float64.

        Raises DataError for a sequence that is impossible.
        """
        rows, length = batch["values"].shape[:2]
        paths = torch.full((rows, length), -1, device=self.start.device)
        values = torch.empty(rows, dtype=torch.float64, device=self.start.device)
        for packed, seen in self._seen(batch):
            density = self.emissions.log_density(seen)
            path, value = recursions.viterbi(self.start, self.transition, density, packed)
            self._require_possible(value, packed, "under the model: no states lead to it")
            packed.placed(value, values)
            packed.unpacked(path, paths)
        return paths, values

    @torch.no_grad()
    def predict_next(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """For the frame after each sequence: P(its state), (B, S), and what is expected.

        That is the mean frame, (B, D), or P(symbol), (B, V), where emissions are categorical. Raises DataError for a
        sequence that is impossible.
        """
        states = self.start.new_empty(len(batch["lengths"]), self.config.states)
        for packed, seen in self._seen(batch):
            last, log_likelihood = self._filtered(packed, seen)
            self._require_possible(log_likelihood, packed, "under the model: nothing can follow it")
            packed.placed(last @ self.transition, states)
        return states, states @ self.emissions.mean()

    @property
    def free_parameters(self) -> int:
        """How many numbers a fit chooses: rows sum to 1, and changes of state that are not allowed stay 0."""
        starts = int(hmm_start.allowed_start(self.config).gt(0).sum())
        transitions = int(hmm_start.allowed_transitions(self.config).sum())
        return starts - 1 + transitions - self.config.states + self.emissions.free_parameters

    def bic(self, log_likelihood: float, frames: int) -> float:
        """The Bayesian information criterion, lower is better. log_likelihood: the mean over the frames, in nats."""
        return -2 * log_likelihood * frames + self.free_parameters * math.log(frames)

    def aic(self, log_likelihood: float, frames: int) -> float:
        """Akaike's information criterion, lower is better. log_likelihood: the mean over the frames, in nats."""
        return -2 * log_likelihood * frames + 2 * self.free_parameters

    def sample(
        self, count: int, noise: Noise, controls: SequenceControls, prefix: Batch | None = None
    ) -> Iterator[torch.Tensor]:
        """Draw `count` sequences; yields the frames so far, (count, t) or (count, t, D), and last all of them.

        prefix: frames to go on after, one sequence for all or one for each; they are not part of what is yielded.
        """
        for _, values in self.draw(count, noise, controls.length, prefix):
            yield values

    def draw(
        self, count: int, noise: Noise, length: int, prefix: Batch | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """As `sample`, with the hidden states, (count, t), before the frames."""
        start = self.start[None]
        if prefix is not None:
            start, _ = self.predict_next(prefix)
            if len(start) not in (1, count):
                raise UsageError(
                    f"there are {len(start)} prefixes for {count} samples; give one, or one for each"
                )
        return continued(start.expand(count, -1), self.transition, self.emissions, noise, length)

    def _seen(self, batch: Batch) -> Iterator[tuple[Packed, Seen]]:
        shift = self.emissions.shift()
        for packed in packs(batch, self._most_frames(), device=self.start.device):
            yield packed, self.emissions.see(packed, shift)

    def _filtered(self, packed: Packed, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        """P(state of the last frame | frames), (B, S), and ln P(sequence), (B,), of packed sequences."""
        likelihood = self.emissions.likelihood(seen)
        return recursions.filtered(
            self.start, self.transition, likelihood, lambda: self.emissions.log_density(seen), packed
        )

    def _most_frames(self) -> int:
        columns = self.config.columns if self.config.emissions != "categorical" else 1
        paired = self.config.covariance in ("full", "tied") and self.config.emissions == "gaussian"
        features = columns * (columns + 3) // 2 if paired else 2 * columns
        return max(1, _NUMBERS // (features + 4 * self.config.states * self.config.mixtures))


def build(config: HMMConfig) -> HMM:
    return HMM(config)
