"""Few and long sequences: cut into pieces, which are gone through side by side as if they were sequences.

A recursion over T steps is T small products one after the other. Here each sequence is cut into about sqrt(T) pieces.
One pass over all pieces at once finds, for each state a piece may begin in, how it may end: S times the work in
sqrt(T) steps. Going from piece to piece with that gives what is known before each piece and after it, and a second
pass, forward and backward through all pieces at once, is the usual one. The result is that of `forward_backward`.

Source of the idea: Särkkä and García-Fernández, "Temporal parallelization of Bayesian smoothers", 2021, there with a
scan of logarithmic depth. Shapes: N frames, S states, P pieces.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from zoo_classic.forward_backward import Expected, certain, scaled_backward, scaled_forward, usable
from zoo_classic.frame_sums import summed_products
from zoo_classic.packed import Packed
from zoo_classic.small_steps import unshared

_STEP = 20_000  # nanoseconds that a step of the plain recursion takes, whatever it multiplies
_SHORT = 1000  # steps below which nothing is gained


@dataclass(frozen=True)
class Pieces:
    """How frames are packed as pieces. Pieces are ranked by falling length.

    position: (N,) the place among the pieces' frames of each frame. sizes: pieces that have a frame at each time.
    last: (P,) the place of each piece's last frame. following: the ranks of the first, second... pieces of the
    sequences, those that have so many.
    """

    position: torch.Tensor
    sizes: tuple[int, ...]
    last: torch.Tensor
    following: tuple[torch.Tensor, ...]


def worthwhile(packed: Packed, states: int) -> bool:
    """Whether the states are so few, and the sequences so long, that the more work takes less time."""
    steps = len(packed.sizes)
    extra = len(packed.owner) / steps * states**2 * (2 + states / 10)  # nanoseconds a step
    return steps > _SHORT and extra < _STEP


def cut(packed: Packed) -> Pieces:
    steps, device = len(packed.sizes), packed.owner.device
    length = math.isqrt(steps - 1) + 1
    time = packed.time()
    lengths = torch.bincount(packed.owner, minlength=packed.sequences)
    counts = (lengths + length - 1) // length  # pieces of each sequence
    offsets = counts.cumsum(0) - counts
    piece = offsets[packed.owner] + time // length
    sizes_of = torch.bincount(piece)
    order = torch.argsort(sizes_of, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=device)
    sorted_sizes = sizes_of[order]
    within = torch.arange(length, device=device)
    sizes = (sorted_sizes[:, None] > within).sum(0)
    starts = sizes.cumsum(0) - sizes
    position = starts[time % length] + rank[piece]
    last = starts[sorted_sizes - 1] + torch.arange(len(order), device=device)
    following = tuple(
        rank[offsets[: int((counts > number).sum())] + number] for number in range(int(counts.max()))
    )
    return Pieces(position, tuple(sizes.tolist()), last, following)


def filtered(
    start: torch.Tensor, transition: torch.Tensor, likelihood: torch.Tensor, packed: Packed
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """As `scaled_forward`; None where numbers this small are lost."""
    pieces = cut(packed)
    emitted = torch.empty_like(likelihood).index_copy_(0, pieces.position, likelihood)
    ways, weights = _ways(transition, emitted, pieces.sizes)
    before = _before(start, transition, ways, weights, pieces.following)
    alpha, scale = scaled_forward(before, transition, emitted, pieces.sizes)
    return (alpha[pieces.position], scale[pieces.position]) if usable(scale) else None


def scaled(
    start: torch.Tensor, transition: torch.Tensor, likelihood: torch.Tensor, packed: Packed
) -> Expected | None:
    """As `forward_backward.scaled`, and leaves `likelihood` as it is."""
    pieces = cut(packed)
    emitted = torch.empty_like(likelihood).index_copy_(0, pieces.position, likelihood)
    ways, weights = _ways(transition, emitted, pieces.sizes)
    before = _before(start, transition, ways, weights, pieces.following)
    alpha, scale = scaled_forward(before, transition, emitted, pieces.sizes)
    if not usable(scale):
        return None
    after = _after(transition, ways, weights, pieces.following)
    ended = alpha[pieces.last]
    total = (ended * after).sum(1, keepdim=True)
    if not usable(total):
        return None
    beta = torch.ones_like(emitted).index_copy_(0, pieces.last, after / total)
    scaled_backward(transition, emitted.div_(scale), pieces.sizes, beta)
    if not certain(beta, alpha):
        return None
    counts = _within(alpha, emitted, pieces.sizes)
    if len(pieces.following) > 1:
        earlier, later = _neighbours(pieces.following)
        first = emitted[: len(ended)] * beta[: len(ended)]  # of these, the backward pass made no product
        counts += ended[earlier].t() @ first[later]
    posterior = alpha.mul_(beta)[pieces.position]
    return Expected(scale.log().squeeze(1)[pieces.position], posterior, counts.mul_(transition))


def _ways(
    transition: torch.Tensor, emitted: torch.Tensor, sizes: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """P(last state | frames of the piece, first state), (P, S, S), and ln P(frames | first state), (P, S).

    The logarithm is minus infinity, and the row 0, for a state in which the piece cannot begin.
    """
    pieces, states = sizes[0], emitted.shape[1]
    tiny = torch.finfo(emitted.dtype).tiny
    ways = torch.eye(states, dtype=emitted.dtype, device=emitted.device).repeat(pieces, 1, 1)
    weights = emitted[:pieces].log()
    spare = torch.empty_like(ways)
    with unshared(ways, pieces * states**3):
        for now in emitted.split_with_sizes(sizes)[1:]:
            running, other = ways[: len(now)], spare[: len(now)]
            torch.mm(running.view(-1, states), transition, out=other.view(-1, states))
            other.mul_(now[:, None])
            total = other.sum(2, keepdim=True)
            torch.div(other, total.clamp_min(tiny), out=running)
            weights[: len(now)] += total.squeeze(2).log_()
    return ways, weights


def _before(
    start: torch.Tensor,
    transition: torch.Tensor,
    ways: torch.Tensor,
    weights: torch.Tensor,
    following: Sequence[torch.Tensor],
) -> torch.Tensor:
    """P(first state of a piece | frames before it), (P, S)."""
    before = torch.empty_like(weights)
    known = start.expand(len(following[0]), -1)
    with unshared(before, len(known) * transition.numel()):
        for number, ranks in enumerate(following):
            if number:
                known = known[: len(ranks)]
            before[ranks] = known
            logarithms = known.log() + weights[ranks]
            shares = (logarithms - logarithms.amax(1, keepdim=True)).exp_()
            ended = torch.bmm(shares[:, None], ways[ranks])[:, 0] @ transition
            known = ended / ended.sum(1, keepdim=True)
    return before


def _after(
    transition: torch.Tensor, ways: torch.Tensor, weights: torch.Tensor, following: Sequence[torch.Tensor]
) -> torch.Tensor:
    """P(frames after a piece | its last state) over the largest such, (P, S)."""
    after = torch.ones_like(weights)
    with unshared(after, len(following[0]) * transition.numel()):
        for number in range(len(following) - 1, 0, -1):
            ranks = following[number]
            logarithms = torch.bmm(ways[ranks], after[ranks][:, :, None])[:, :, 0].log() + weights[ranks]
            begun = (logarithms - logarithms.amax(1, keepdim=True)).exp_()
            found = begun @ transition.t()
            after[following[number - 1][: len(ranks)]] = found / found.amax(1, keepdim=True)
    return after


def _within(alpha: torch.Tensor, products: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Sums over all frames but the pieces' first of alpha of the frame before times the frame's product, (S, S)."""
    if len(sizes) == 1:
        return products.new_zeros(products.shape[1], products.shape[1])
    steps = zip(alpha.split_with_sizes(sizes), sizes[1:], strict=False)  # the last step precedes none
    before = torch.cat([step[:following] for step, following in steps])
    return summed_products(before, products[sizes[0] :])


def _neighbours(following: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The ranks of all pieces that another one follows, and of those that follow."""
    earlier = [ranks[: len(after)] for ranks, after in itertools.pairwise(following)]
    return torch.cat(earlier), torch.cat(list(following[1:]))
