"""Faster decoding on a CPU: a matrix product of its own for the few rows of a step, built once by the C compiler.

With one row, or eight, a step costs what reading the weights costs. torch's product reads them with one core, or, for
several rows, computes longer than it reads; the one in matrix_vector.c keeps every core reading.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from zoo.nn import kernels
from zoo.nn.linear import Embedding, Linear
from zoo.os_words import reason

MOST_ROWS = 8

_SOURCE = Path(__file__).with_name("matrix_vector.c")

_Kernel = Callable[[int, int, int | None, int, int, int, int], None]


def compiled(network: nn.Module) -> str:
    """Give the network's linear maps the fast product for steps of decoding; training and prefill stay as they are.

    Returns "", or the reason why the network stays as it was: another device or dtype, or no C compiler.
    """
    weight = next(network.parameters())
    if weight.device.type != "cpu":
        return f"compiled decoding is for the CPU only, and the model is on {weight.device}"
    if weight.dtype not in (torch.float32, torch.bfloat16):
        return (
            f"compiled decoding is for float32 and bfloat16 only, and the weights are {weight.dtype}".replace(
                "torch.", ""
            )
        )
    try:
        products = _kernels()
    except OSError as error:
        return f"compiled decoding is off: {reason(error)}"
    for module in network.modules():
        if isinstance(module, Linear | Embedding):
            module.product = _Product(products)
    return ""


class _Product:
    """`functional.linear` for one map. What a kernel is not for, such as training and long prompts, goes there.

    What does not change from call to call is looked up once: a step makes fifty calls, each of a few microseconds.
    """

    def __init__(self, products: dict[tuple[torch.dtype, bool], _Kernel]) -> None:
        self._kernels = products
        self._weight: torch.Tensor | None = None
        self._bias: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if torch.is_grad_enabled():
            return functional.linear(x, weight, bias)
        if weight is not self._weight or bias is not self._bias or weight.data_ptr() != self._at:
            self._look_up(weight, bias)
        kernel, inputs = self._kernel, self._inputs
        if kernel is None or x.dtype != weight.dtype or x.shape[-1] != inputs or not x.is_cpu:
            return functional.linear(x, weight, bias)
        rows = x.numel() // inputs
        if not 1 <= rows <= MOST_ROWS:
            return functional.linear(x, weight, bias)
        wide = x.float().contiguous()
        wide_bias = None if bias is None else bias.float()
        out = wide.new_empty((*x.shape[:-1], self._outputs))
        bias_at = None if wide_bias is None else wide_bias.data_ptr()
        kernel(wide.data_ptr(), self._at, bias_at, out.data_ptr(), rows, self._outputs, inputs)
        return out.to(x.dtype)

    def _look_up(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """The kernel for this weight: the network may have been moved or changed since."""
        self._weight, self._bias, self._at = weight, bias, weight.data_ptr()
        self._outputs, self._inputs = weight.shape
        self._kernel: _Kernel | None = None
        readable = (
            weight.is_cpu and self._inputs > 0 and (weight.is_contiguous() or weight.t().is_contiguous())
        )
        if readable and (
            bias is None or (bias.is_cpu and bias.is_contiguous() and bias.dtype == weight.dtype)
        ):
            self._kernel = self._kernels.get((weight.dtype, weight.is_contiguous()))


@functools.cache
def _kernels() -> dict[tuple[torch.dtype, bool], _Kernel]:
    """(dtype of the weights, stored outputs first) -> the kernel. Raises OSError where none can be built."""
    library = kernels.library(_SOURCE)
    found: dict[tuple[torch.dtype, bool], _Kernel] = {}
    for dtype, kind in ((torch.float32, "float"), (torch.bfloat16, "bfloat")):
        for outputs_first, order in ((True, "outputs_first"), (False, "inputs_first")):
            function = library[f"{order}_{kind}"]
            function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_long] * 3
            function.restype = None
            found[dtype, outputs_first] = function
    return found
