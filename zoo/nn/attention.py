"""Scaled dot-product attention over a static key-value cache.

Shapes: B rows, T new tokens, C cache capacity, H query heads, K key-value heads (K divides H), D head width.
Source: Vaswani et al. 2017; grouped queries: Ainslie et al. 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional


class Cache:
    """Keys and values of the tokens so far, in tensors allocated once; rows may hold different numbers of tokens.

    lengths: (B,) int64, tokens held by each row. longest: at least the largest of them, and even: whether all are
    equal to it; both known without asking the device.
    """

    def __init__(
        self, layers: int, rows: int, heads: int, capacity: int, width: int, *, like: torch.Tensor
    ) -> None:
        shape = (layers, rows, heads, capacity, width)
        self.keys = like.new_zeros(shape)  # (layers, B, K, C, D)
        self.values = like.new_zeros(shape)
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=like.device)
        self.longest = 0
        self.even = True

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def keep(self, rows: Sequence[int]) -> None:
        """Hold these rows only; a row that is named several times is copied."""
        chosen = torch.tensor(rows, device=self.keys.device)
        self.keys, self.values = self.keys[:, chosen], self.values[:, chosen]
        self.lengths = self.lengths[chosen]
        lengths = self.lengths.tolist()
        self.longest = max(lengths)
        self.even = min(lengths) == self.longest


class Positions:
    """Where the T new tokens of each row stand, and what each may look at; made once a step, used by every layer.

    counts: (B,) real tokens among the T of each row, the rest is padding at the right; None when all are real.
    """

    def __init__(self, tokens: torch.Tensor, cache: Cache | None, counts: torch.Tensor | None = None) -> None:
        rows, new = tokens.shape
        self.cache = cache
        self._counts = counts
        steps = torch.arange(new, device=tokens.device)
        if cache is None:
            self.positions = steps.expand(rows, new)  # (B, T)
            return
        self.fresh = cache.longest == 0
        self.positions = cache.lengths[:, None] + steps  # (B, T)
        self._rows = torch.arange(rows, device=tokens.device)[:, None]
        self._upto = cache.longest + new
        self._keys = cache.keys[:, :, :, : self._upto].unbind()  # of each layer, (B, K, upto, D)
        self._values = cache.values[:, :, :, : self._upto].unbind()
        self.visible: torch.Tensor | None = None  # (B, 1, T, upto); None: everything up to `upto`
        if not (cache.even and new == 1):
            seen = torch.arange(self._upto, device=tokens.device)
            self.visible = (seen <= self.positions[:, :, None])[:, None]

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """q (B, H, T, D), k and v (B, K, T, D) -> (B, H, T, D), causal; k and v go into the cache."""
        if self.cache is None or self.fresh:
            if self.cache is not None:
                self._store(layer, k, v)
            grouped = q.shape[1] != k.shape[1]
            return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        self._store(layer, k, v)
        keys, values = self._keys[layer], self._values[layer]
        rows, heads, new, width = q.shape
        group = heads // keys.shape[1]
        if group > 1 and new == 1:  # the group's queries share keys and mask: they are rows of one product
            q = q.reshape(rows, heads // group, group, width)
            out = functional.scaled_dot_product_attention(q, keys, values, attn_mask=self.visible)
            return out.reshape(rows, heads, 1, width)
        return functional.scaled_dot_product_attention(
            q, keys, values, attn_mask=self.visible, enable_gqa=group > 1
        )

    def _store(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> None:
        assert self.cache is not None
        if self.cache.even:
            self._keys[layer][:, :, self.cache.longest :] = k
            self._values[layer][:, :, self.cache.longest :] = v
        else:  # advanced indices on both sides of a slice: the indexed part is (B, T, K, D)
            self.cache.keys[layer][self._rows, :, self.positions] = k.transpose(1, 2)
            self.cache.values[layer][self._rows, :, self.positions] = v.transpose(1, 2)

    def last(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, E) -> (B, E) at each row's last real token; also counts the new tokens in the cache."""
        new = x.shape[1]
        if self.cache is not None:
            self.cache.lengths = self.cache.lengths + (new if self._counts is None else self._counts)
            self.cache.longest += new
            self.cache.even = self.cache.even and self._counts is None
        if self.cache is None or self._counts is None:
            return x[:, -1]
        return x[self._rows[:, 0], self._counts - 1]
