"""The built kernels compute what torch's linear computes, and where none can be built all goes on without them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from zoo.nn import fast, kernels
from zoo.nn.linear import Embedding, Linear

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler here"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the kernels are built once for all tests."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        fast._kernels.cache_clear()
        assert fast.compiled(Linear(2, 2)) == ""
    return home


@pytest.fixture(autouse=True)
def forget_kernels() -> Iterator[None]:
    fast._kernels.cache_clear()
    yield
    fast._kernels.cache_clear()


def linear(inputs: int, outputs: int, *, bias: bool = True, inputs_first: bool = False) -> Linear:
    generator = torch.Generator().manual_seed(inputs + outputs)
    map_ = Linear(inputs, outputs, bias=bias)
    weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
    map_.weight = nn.Parameter(weight.t().contiguous().t() if inputs_first else weight, requires_grad=False)
    if bias:
        map_.bias = nn.Parameter(torch.randn(outputs, generator=generator), requires_grad=False)
    return map_


@needs_compiler
@pytest.mark.parametrize("inputs_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (5, 3), (64, 48), (131, 1), (48, 257), (100, 9001)])
def test_the_product_is_that_of_torch_for_every_shape(
    built, monkeypatch, inputs, outputs, bias, inputs_first
):
    monkeypatch.setenv("ZOO_HOME", str(built))
    map_ = linear(inputs, outputs, bias=bias, inputs_first=inputs_first)
    assert fast.compiled(map_) == ""
    for rows in range(1, 11):
        x = torch.randn(rows, inputs)
        expected = functional.linear(x.double(), map_.weight.double(), map_.bias.double() if bias else None)
        with torch.inference_mode():
            torch.testing.assert_close(map_(x).double(), expected, atol=2e-6, rtol=1e-5)


@needs_compiler
@pytest.mark.parametrize("inputs_first", [False, True])
def test_the_product_in_bfloat16_is_as_exact_as_that_of_torch(built, monkeypatch, inputs_first):
    monkeypatch.setenv("ZOO_HOME", str(built))
    map_ = linear(300, 70, inputs_first=inputs_first).bfloat16()
    x = torch.randn(4, 300).bfloat16()
    exact = functional.linear(x.double(), map_.weight.double(), map_.bias.double())
    torch_error = (map_(x).double() - exact).abs().max()
    assert fast.compiled(map_) == ""
    with torch.inference_mode():
        out = map_(x)
    assert out.dtype == torch.bfloat16
    assert (out.double() - exact).abs().max() <= 1.1 * torch_error


@needs_compiler
def test_leading_dimensions_and_views_of_the_input_are_kept(built, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(built))
    map_ = linear(6, 5)
    x = torch.randn(6, 3, 2).transpose(0, 2)  # (2, 3, 6), not contiguous
    expected = map_(x)
    fast.compiled(map_)
    with torch.inference_mode():
        torch.testing.assert_close(map_(x), expected)


@needs_compiler
def test_the_head_tied_to_an_embedding_is_fast_too(built, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(built))
    embedding = Embedding(31, 8)
    embedding.weight = nn.Parameter(torch.randn(31, 8))
    x = torch.randn(2, 8)
    expected = embedding.logits(x)
    fast.compiled(embedding)
    assert embedding.product is not functional.linear
    with torch.inference_mode():
        torch.testing.assert_close(embedding.logits(x), expected)


@needs_compiler
def test_gradients_are_those_of_torch(built, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(built))
    map_ = linear(6, 5).requires_grad_()
    fast.compiled(map_)
    map_(torch.ones(2, 6)).sum().backward()
    torch.testing.assert_close(map_.weight.grad, torch.full((5, 6), 2.0))


@needs_compiler
def test_a_later_process_builds_nothing(built, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(built))
    monkeypatch.setattr(kernels, "_build", lambda source, target: pytest.fail("built again"))
    assert fast.compiled(linear(6, 5)) == ""
    assert [path.suffix for path in (built / "kernels").iterdir()] == [
        ".so"
    ]  # and nothing half-built is left


def unchanged(map_: Linear) -> bool:
    return map_.product is functional.linear


def test_without_a_compiler_the_reason_is_told_and_the_network_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    map_ = linear(6, 5)
    assert "no C compiler" in fast.compiled(map_)
    assert unchanged(map_)
    assert not list((tmp_path / "kernels").iterdir())


@needs_compiler
def test_a_compiler_that_fails_is_told_with_its_own_first_words(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    source = tmp_path / "broken.c"
    source.write_text("int broken(")
    monkeypatch.setattr(fast, "_SOURCE", source)
    map_ = linear(6, 5)
    assert "cannot build the kernels" in fast.compiled(map_)
    assert unchanged(map_)


def test_other_devices_and_dtypes_stay_as_they_are():
    with torch.device("meta"):
        assert "on meta" in fast.compiled(Linear(6, 5))
    half = linear(6, 5).half()
    assert "float16" in fast.compiled(half)
    assert unchanged(half)


def no_kernel(*_: object) -> None:
    pytest.fail("a kernel was given what it cannot read")


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Linear:
    """A compiled map from 6 to 5 whose kernels fail the test when they are called."""
    kernels = {(torch.float32, order): no_kernel for order in (True, False)}
    with monkeypatch.context() as patch:
        patch.setattr(fast, "_kernels", lambda: kernels)
        map_ = linear(6, 5)
        assert fast.compiled(map_) == ""
    return map_


@torch.inference_mode()
def test_a_network_moved_to_another_device_goes_to_torch(guarded):
    for _ in range(2):
        assert guarded.to("meta")(torch.ones(2, 6, device="meta")).device.type == "meta"


@torch.inference_mode()
def test_an_input_of_the_wrong_width_or_device_is_refused_by_torch(guarded):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        guarded(torch.ones(2, 12))
    with pytest.raises(RuntimeError, match="device"):
        guarded(torch.ones(2, 6, device="meta"))


@needs_compiler
@torch.inference_mode()
def test_weights_that_change_after_the_first_call_are_the_ones_used(built, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(built))
    for dtype in (torch.float32, torch.bfloat16):
        map_ = linear(6, 5).to(dtype)
        fast.compiled(map_)
        x = torch.ones(2, 6, dtype=dtype)
        map_(x)
        map_.weight.mul_(2)
        map_.bias.add_(1)
        torch.testing.assert_close(map_(x), functional.linear(x, map_.weight, map_.bias))
        map_.load_state_dict(linear(6, 5, inputs_first=True).to(dtype).state_dict(), assign=True)
        torch.testing.assert_close(map_(x), functional.linear(x, map_.weight, map_.bias))
