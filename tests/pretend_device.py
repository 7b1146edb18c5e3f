"""A device that is not there, for tests that everything is computed where the data is.

Its tensors keep their values on the CPU and say they are elsewhere. Whatever would fail on a GPU fails here: an
operation on tensors of both places, and numpy on a tensor that was not fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")  # torch has no other that needs no library
_COPIES = torch.ops.aten.copy_.default
_MOVES = (torch.ops.aten._to_copy.default, _COPIES)
_PACKS = torch.ops.aten._pack_padded_sequence.default  # its lengths and sizes are on the CPU
_INDEXED = (
    "aten.index.Tensor",
    "aten.index_put.default",
    "aten.index_put_.default",
)  # by numbers from anywhere


@contextmanager
def pretending() -> Iterator[None]:
    """Inside, `DEVICE` can be used, with any of torch's operations."""
    with _Values(), _Operations():
        yield


class Elsewhere(torch.Tensor):
    """A tensor on `DEVICE`; `values` are on the CPU."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls, values.shape, values.stride(), values.storage_offset(), dtype=values.dtype, device=DEVICE
        )
        made.values = values
        return made

    def tolist(self) -> Any:
        return self.values.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Values(TorchFunctionMode):
    """Tensors of Python's numbers, which torch makes on the device without an operation that a mode could see."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.new_tensor:
            return torch.tensor(*args[1:], dtype=kwargs.get("dtype", args[0].dtype)).to(args[0].device)
        if func is torch.tensor and kwargs.get("device") is not None:
            return func(*args, **kwargs | {"device": None}).to(kwargs["device"])
        return func(*args, **kwargs)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the CPU; its results are where its operands are, or where it is told to put them."""
    compared = (args[0], args[2:]) if str(func) in _INDEXED else (args, kwargs)
    operands = [one for one in tree_leaves(compared) if isinstance(one, torch.Tensor)]
    there = any(isinstance(one, Elsewhere) for one in operands)
    here = any(not isinstance(one, Elsewhere) and one.dim() for one in operands)  # numbers may be anywhere
    if there and here and func not in (*_MOVES, _PACKS):
        raise RuntimeError(f"{func} was asked for tensors on {DEVICE} and on the CPU")
    asked = kwargs.get("device")
    if func is _COPIES:
        there = isinstance(args[0], Elsewhere)
    elif asked is not None:
        there = torch.device(asked) == DEVICE
        kwargs = kwargs | {"device": "cpu"}
    own = tree_map(lambda one: one.values if isinstance(one, Elsewhere) else one, (args, kwargs))
    found = func(*own[0], **own[1])
    if func is _PACKS and there:
        return Elsewhere(found[0]), found[1]
    return (
        tree_map(lambda one: Elsewhere(one) if isinstance(one, torch.Tensor) else one, found)
        if there
        else found
    )
