"""The forward-backward algorithm and Viterbi's over packed sequences: by the kernel in recursions.c, else by torch.

The kernel goes through sequences in tens of nanoseconds a frame. It computes in float64 on the CPU, where
few sequences are brought from another device too, which would wait at each step. Without a C compiler, and for many
sequences elsewhere, `forward_backward` does the same by torch. Shapes: N frames of B sequences, S states.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path

import torch

from zoo.nn import kernels
from zoo_classic import forward_backward
from zoo_classic.denormals import flushed
from zoo_classic.forward_backward import Expected
from zoo_classic.frame_sums import summed_products
from zoo_classic.packed import Packed

_DENSE = 1e-30  # transitions all above this: no state is ever lost for good
_SINGLE = 32  # more sequences and more states than this are fitted faster by torch's products in float32
_WORTH_A_DEVICE = 1 << 17  # multiplications in a step; below, another device waits longer than it computes

LogDensity = Callable[[], torch.Tensor]
"""ln P(frame | state), (N, S), asked for only where it is needed."""


def expected(
    start: torch.Tensor,
    transition: torch.Tensor,
    likelihood: tuple[torch.Tensor, torch.Tensor],
    log_density: LogDensity,
    packed: Packed,
    *,
    transitions: bool = True,
) -> Expected:
    """What is expected given the sequences; scaled where that loses nothing, else in log space.

    start: (S,). transition: (S, S). likelihood: as `Emissions.likelihood` gives it, (N, S), which is overwritten, and
    (N,) or (1,). transitions: whether their number is wanted.
    """
    table, offset = likelihood
    many = min(packed.sequences, table.shape[1]) > _SINGLE and table.dtype == torch.float32
    library = None if many and transitions else _library(table, packed)
    if library is None:
        with flushed():
            return forward_backward.expected(start, transition, table, offset, log_density, packed)
    rows = table.double().cpu()
    alpha = torch.empty_like(rows)
    posterior = torch.empty_like(rows) if transitions else alpha
    weights = rows if transitions else None
    run = _Run(library, start, transition, packed)
    log_likelihood, uncertain = run.scaled(rows, offset, alpha, weights, posterior)
    counts = rows.new_zeros(transition.shape)
    if bool(uncertain.any()):
        run.exact(
            log_density(), uncertain, log_likelihood, weights, posterior, counts if transitions else None
        )
    if transitions:
        counts += summed_products(alpha[:-1], rows[1:]).mul_(run.transition)
    return Expected(log_likelihood.to(table.device), posterior.to(table), counts.to(table))


def filtered(
    start: torch.Tensor,
    transition: torch.Tensor,
    likelihood: tuple[torch.Tensor, torch.Tensor],
    log_density: LogDensity,
    packed: Packed,
) -> tuple[torch.Tensor, torch.Tensor]:
    """P(state of the last frame | frames), (B, S), and ln P of each sequence, (B,) float64. Arguments as above."""
    table, offset = likelihood
    library = _library(table, packed)
    dense = bool(transition.min() > _DENSE)
    if library is None:
        with flushed():
            return forward_backward.filtered(
                start, transition, table, offset, log_density, packed, dense=dense
            )
    rows = table.double().cpu()
    last = rows.new_empty(packed.sequences, rows.shape[1])
    run = _Run(library, start, transition, packed)
    alpha = None if dense else torch.empty_like(rows)
    log_likelihood, uncertain = run.scaled(rows, offset, alpha, last=last)
    if bool(uncertain.any()):
        run.exact(log_density(), uncertain, log_likelihood, last=last)
    return last.to(table), log_likelihood.to(table.device)


def viterbi(
    start: torch.Tensor, transition: torch.Tensor, log_density: torch.Tensor, packed: Packed
) -> tuple[torch.Tensor, torch.Tensor]:
    """The most probable states, (N,), and ln P(states, sequence), (B,) float64.

    Of equally probable ways to a state the one from the highest state is taken, of equal ends the lowest.
    """
    library = _library(log_density, packed)
    if library is None:
        return forward_backward.viterbi(start, transition, log_density, packed)
    return _Run(library, start, transition, packed).best(log_density)


class _Run:
    """Calls of the kernel for some sequences."""

    def __init__(
        self, library: ctypes.CDLL, start: torch.Tensor, transition: torch.Tensor, packed: Packed
    ) -> None:
        self._library = library
        self.start, self.transition = (
            value.detach().double().cpu().contiguous() for value in (start, transition)
        )
        self._packed = packed

    def scaled(
        self,
        likelihood: torch.Tensor,
        offset: torch.Tensor,
        alpha: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
        posterior: torch.Tensor | None = None,
        last: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """ln P of each sequence (B,), and which of them (B,) bool, log space must do."""
        log_likelihood = torch.empty(self._packed.sequences, dtype=torch.float64)
        uncertain = torch.empty(self._packed.sequences, dtype=torch.bool)
        offsets = None if len(offset) < len(likelihood) else offset.double().cpu()
        tables = (likelihood, offsets, alpha, weights, posterior, last, log_likelihood, uncertain)
        self._call(self._library.forward_backward, self.start, self.transition, *tables)
        return log_likelihood, uncertain

    def exact(
        self,
        log_density: torch.Tensor,
        which: torch.Tensor,
        log_likelihood: torch.Tensor,
        weights: torch.Tensor | None = None,
        posterior: torch.Tensor | None = None,
        counts: torch.Tensor | None = None,
        last: torch.Tensor | None = None,
    ) -> None:
        """Write what concerns the sequences of which (B,); counts (S, S) are added to."""
        rows = log_density.double().cpu()
        tables = (rows, which, weights, posterior, last, counts, log_likelihood)
        self._call(self._library.logarithmic, self.start.log(), self.transition.log(), *tables)

    def best(self, log_density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = log_density.double().cpu()
        path = torch.empty(len(rows), dtype=torch.int64)
        value = torch.empty(self._packed.sequences, dtype=torch.float64)
        self._call(self._library.viterbi, self.start.log(), self.transition.log(), rows, path, value)
        return path.to(log_density.device), value.to(log_density.device)

    def _call(self, function: Callable[..., int], *tables: torch.Tensor | None) -> None:
        at = [None if table is None else table.data_ptr() for table in tables]
        starts = self._packed.starts
        failed = function(len(starts) - 1, starts.data_ptr(), len(self.start), *at, torch.get_num_threads())
        if failed:
            raise MemoryError("the recursions of a hidden Markov model found no memory")


def _library(table: torch.Tensor, packed: Packed) -> ctypes.CDLL | None:
    """The kernel, if there is one and it is the faster way for (N, S) frames of these sequences."""
    if not table.is_cpu and packed.sequences * table.shape[1] ** 2 > _WORTH_A_DEVICE:
        return None
    return _built()


@functools.cache
def _built() -> ctypes.CDLL | None:
    try:
        library = kernels.library(Path(__file__).with_name("recursions.c"))
    except OSError:  # no compiler: torch gives the same numbers
        return None
    for function, tables in (("forward_backward", 10), ("logarithmic", 9), ("viterbi", 5)):
        getattr(library, function).argtypes = [
            ctypes.c_long,
            ctypes.c_void_p,
            ctypes.c_long,
            *[ctypes.c_void_p] * tables,
            ctypes.c_long,
        ]
    return library
