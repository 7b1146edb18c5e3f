"""The forward-backward algorithm and Viterbi's in torch, for many sequences at once; `recursions` has the kernel.

Scaled, which is fast, or in log space, which is exact. The frames of one time of all sequences stand side by side, so
that a step is a few operations on contiguous slices.

Source: Rabiner, "A tutorial on hidden Markov models", 1989, sections III and V; his scaled variables, with c the
scale. Shapes: N frames of B packed sequences, S states; see `packed.Steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from zoo_classic.frame_sums import summed_products
from zoo_classic.packed import Packed, Steps
from zoo_classic.small_steps import unshared

_LOG_BLOCK = 1 << 22  # numbers (frames x S x S) that the log-space sums hold at once


@dataclass(frozen=True)
class Expected:
    """log_likelihood: (B,) of each sequence, in nats, float64. posterior: (N, S). transitions: (S, S)."""

    log_likelihood: torch.Tensor
    posterior: torch.Tensor
    transitions: torch.Tensor


def expected(
    start: torch.Tensor,
    transition: torch.Tensor,
    likelihood: torch.Tensor,
    offset: torch.Tensor,
    log_density: Callable[[], torch.Tensor],
    packed: Packed,
) -> Expected:
    """As `recursions.expected`."""
    by_time = packed.steps
    found = scaled(start, transition, by_time.taken(likelihood), by_time)
    if found is None:
        found, offset = (
            logarithmic(start, transition, by_time.taken(log_density()), by_time),
            offset.new_zeros(1),
        )
    parts, posterior, transitions = found
    offset = offset if len(offset) == 1 else by_time.taken(offset)
    return Expected(by_time.log_likelihood(parts, offset), by_time.given(posterior), transitions)


def filtered(
    start: torch.Tensor,
    transition: torch.Tensor,
    likelihood: torch.Tensor,
    offset: torch.Tensor,
    log_density: Callable[[], torch.Tensor],
    packed: Packed,
    *,
    dense: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `recursions.filtered`. dense: whether no state can be lost for good."""
    by_time = packed.steps
    ordered = by_time.taken(likelihood)
    alpha, scale = scaled_forward(start, transition, ordered, by_time.sizes)
    sure = usable(scale)
    if sure and not dense:
        weights = ordered.div_(scale)
        sure = certain(scaled_backward(transition, weights, by_time.sizes, torch.ones_like(weights)), alpha)
    if sure:
        offset = offset if len(offset) == 1 else by_time.taken(offset)
        return by_time.last(alpha), by_time.log_likelihood(scale.log().squeeze(1), offset)
    log_alpha = log_forward(start.log(), transition.log(), by_time.taken(log_density()), by_time)
    return by_time.last(log_alpha).softmax(1), by_time.log_likelihood(log_parts(log_alpha, by_time))


def scaled_forward(
    start: torch.Tensor, transition: torch.Tensor, likelihood: torch.Tensor, sizes: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """P(state | frames so far), (N, S), and the scale, (N, 1): P(frame | frames before) in `likelihood`'s units.

    start: (S,). likelihood: (N, S) of each frame under each state, divided by anything of the frame. sizes: of the
    time steps.
    """
    alpha = torch.empty_like(likelihood)
    scale = likelihood.new_empty(len(likelihood), 1)
    here = alpha.split_with_sizes(sizes)  # all slices made at once: slicing costs as much as multiplying
    emissions, totals = likelihood.split_with_sizes(sizes), scale.split_with_sizes(sizes)
    before = None
    with unshared(alpha, sizes[0] * transition.numel()):
        for now, emitted, total in zip(here, emissions, totals, strict=True):
            if before is None:
                torch.mul(start, emitted, out=now)
            else:
                torch.mm(before if len(before) == len(now) else before[: len(now)], transition, out=now)
                now.mul_(emitted)
            torch.sum(now, 1, keepdim=True, out=total)
            now.div_(total)
            before = now
    return alpha, scale


def scaled_backward(
    transition: torch.Tensor, weights: torch.Tensor, sizes: Sequence[int], beta: torch.Tensor
) -> torch.Tensor:
    """P(frames after | state) / P(frames after | frames so far), (N, S).

    weights: (N, S) likelihood / scale; all rows but the first frames' are multiplied in place by their result.
    beta: (N, S) to be filled; the row of each sequence's last frame is there already, ones where nothing follows.
    """
    ahead = transition.t().contiguous()
    steps = list(zip(beta.split_with_sizes(sizes), weights.split_with_sizes(sizes), strict=True))
    with unshared(beta, sizes[0] * transition.numel()):
        for (now, _), (after, weight) in zip(reversed(steps[:-1]), reversed(steps[1:]), strict=True):
            weight.mul_(after)
            torch.mm(weight, ahead, out=now if len(now) == len(weight) else now[: len(weight)])
    return beta


_Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""ln P(frame | frames before), (N,), in `likelihood`'s units; P(state | sequence), (N, S); transitions (S, S)."""


def scaled(
    start: torch.Tensor, transition: torch.Tensor, likelihood: torch.Tensor, by_time: Steps
) -> _Found | None:
    """All that is expected, or None where numbers this small are lost in the dtype: then log space must do.

    `likelihood` is overwritten. What is lost is bounded: a state of probability below the smallest number at time t
    adds at most that number times its beta, so the result stands while that is far from the largest number.
    """
    alpha, scale = scaled_forward(start, transition, likelihood, by_time.sizes)
    if not usable(scale):
        return None
    beta = scaled_backward(transition, likelihood.div_(scale), by_time.sizes, torch.ones_like(likelihood))
    if not certain(beta, alpha):
        return None
    counts = summed_products(by_time.before(alpha), likelihood[by_time.sequences :])
    return scale.log().squeeze(1), alpha.mul_(beta), counts.mul_(transition)


def usable(scale: torch.Tensor) -> bool:
    """Whether no frame's scale got lost: below the smallest number, or not a number at all."""
    return bool(scale.min() >= torch.finfo(scale.dtype).tiny)  # of NaN this is False


def certain(beta: torch.Tensor, alpha: torch.Tensor) -> bool:
    """Whether states that the forward pass lost to underflow are too improbable to change any printed digit.

    Only a state whose alpha is nearly as small as what is lost can have lost a share of it that counts.
    """
    known = torch.finfo(beta.dtype)
    most = known.eps / known.tiny / beta.numel()
    highest = float(beta.max())
    if highest <= most or not math.isfinite(highest):
        return highest <= most
    doubtful = torch.where(alpha < known.tiny / known.eps, beta, 0.0)
    return bool(doubtful.max() <= most)


def log_forward(
    log_start: torch.Tensor, log_transition: torch.Tensor, log_density: torch.Tensor, by_time: Steps
) -> torch.Tensor:
    """ln P(state, frames so far), (N, S)."""
    alpha = torch.empty_like(log_density)
    into = log_transition.t().contiguous()  # (to, from): the sum runs along memory
    before = None
    for now, emitted in zip(
        alpha.split_with_sizes(by_time.sizes), log_density.split_with_sizes(by_time.sizes), strict=True
    ):
        if before is None:
            torch.add(log_start, emitted, out=now)
        else:
            torch.logsumexp(before[: len(now), None] + into, 2, out=now)
            now.add_(emitted)
        before = now
    return alpha


def log_backward(log_transition: torch.Tensor, log_density: torch.Tensor, by_time: Steps) -> torch.Tensor:
    """ln P(frames after | state), (N, S)."""
    beta = torch.zeros_like(log_density)
    steps = list(
        zip(beta.split_with_sizes(by_time.sizes), log_density.split_with_sizes(by_time.sizes), strict=True)
    )
    for (now, _), (after, emitted) in zip(reversed(steps[:-1]), reversed(steps[1:]), strict=True):
        now[: len(after)] = torch.logsumexp((after + emitted)[:, None] + log_transition, 2)
    return beta


def logarithmic(
    start: torch.Tensor, transition: torch.Tensor, log_density: torch.Tensor, by_time: Steps
) -> _Found:
    """As `scaled`, with nothing lost, for S times the exponentials."""
    log_transition = transition.log()
    alpha = log_forward(start.log(), log_transition, log_density, by_time)
    beta = log_backward(log_transition, log_density, by_time)
    joint = alpha + beta
    total = joint.logsumexp(1, keepdim=True)  # the sequence's log-likelihood, found at every frame
    impossible = total == -math.inf
    posterior = (joint - total).masked_fill_(impossible, -math.inf).exp_()
    ahead = log_density + beta - total.masked_fill(impossible, 0.0)
    counts = torch.zeros_like(transition)
    before, after = by_time.before(alpha), ahead[by_time.sequences :]
    block = max(1, _LOG_BLOCK // transition.numel())
    for at in range(0, len(before), block):
        left, right = before[at : at + block, :, None], after[at : at + block, None]
        counts += (left + right + log_transition).exp_().sum(0)
    return log_parts(alpha, by_time), posterior, counts


def log_parts(log_alpha: torch.Tensor, by_time: Steps) -> torch.Tensor:
    """ln P(frame | frames before), (N,), from ln P(state, frames so far)."""
    so_far = log_alpha.logsumexp(1)
    parts = so_far.clone()
    parts[by_time.sequences :] -= by_time.before(so_far)
    return parts.masked_fill_(so_far == -math.inf, -math.inf)


def viterbi(
    start: torch.Tensor, transition: torch.Tensor, log_density: torch.Tensor, packed: Packed
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `recursions.viterbi`."""
    by_time = packed.steps
    into = (
        transition.t().log().flip(1).contiguous()
    )  # (to, from), the highest state first: so that it wins when equal
    density = by_time.taken(log_density)
    came_from = torch.zeros(density.shape, dtype=torch.long, device=density.device)
    best = torch.empty_like(density)
    before = None
    origins = came_from.split_with_sizes(by_time.sizes)
    bests = best.split_with_sizes(by_time.sizes)
    for now, origin, emitted in zip(bests, origins, density.split_with_sizes(by_time.sizes), strict=True):
        if before is None:
            torch.add(start.log(), emitted, out=now)
        else:
            torch.max(before[: len(now)].flip(1)[:, None] + into, 2, out=(now, origin))
            now.add_(emitted)
        before = now
    came_from.neg_().add_(density.shape[1] - 1)
    path = by_time.given(_traced(bests, origins))
    return path, by_time.last(best).amax(1).double()


def _traced(bests: Sequence[torch.Tensor], origins: Sequence[torch.Tensor]) -> torch.Tensor:
    """The states (N,) that lead to the best last ones, followed back from each sequence's end."""
    paths = [bests[-1].argmax(1)]
    for step in range(len(bests) - 2, -1, -1):
        after = paths[-1]
        running = origins[step + 1].gather(1, after[:, None])[:, 0]
        ending = bests[step][len(after) :]
        paths.append(torch.cat((running, ending.argmax(1))) if len(ending) else running)
    return torch.cat(paths[::-1])
