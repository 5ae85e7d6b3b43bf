"""Each tensor of a file is used once, and each of ours is filled: else the error names it."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gluon_resnet.convert import import_weights
from gluon_resnet.convert.layouts import LAYOUTS
from gluon_resnet.convert.names import our_layers
from gluon_resnet.errors import ModelError
from gluon_resnet.models import get_model
from tests.support.foreign import STATISTICS, akamaster_file, refusal


def rename(old: str, new: str) -> Any:
    return lambda arrays: arrays.update({new: arrays.pop(old)})


def put(name: str, value: Any) -> Any:
    return lambda arrays: arrays.update({name: np.asarray(value)})


def changed(path: pathlib.Path, change: Any) -> str:
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)
    return str(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            rename("layer1.0.bn1.bias", "x"),
            "has layer1.0.bn1.bias, which the file lacks; the file has x, which",
        ),
        (lambda arrays: arrays.pop("linear.bias"), "has linear.bias, which the file lacks"),
        (
            put("layer4.0.conv1.weight", np.ones(3, "f4")),
            "the file has layer4.0.conv1.weight, which akamaster",
        ),
        (
            put("conv1.weight", np.ones((16, 3, 5, 5), "f4")),
            "conv1.weight: expected shape (16, 3, 3, 3), found (16, 3, 5",
        ),
        (put("bn1.bias", np.ones((16, 1), "f4")), "bn1.bias: expected shape (16,), found (16, 1)"),
        (
            put("linear.weight", np.ones((3, 65), "f4")),
            "linear.weight: expected shape (3, 64), found (3, 65)",
        ),
        (put("linear.weight", np.ones((0, 64), "f4")), "linear.weight has no classes"),
        (put("linear.weight", np.float32(1)), "linear.weight has no classes"),
        (put("linear.bias", np.ones(4, "f4")), "linear.bias: expected shape (3,), found (4,)"),
        (put("bn1.bias", np.ones(16, "i4")), "bn1.bias: expected real numbers, found int32"),
        (put("bn1.bias", np.full(16, np.nan, "f4")), "bn1.bias has values that are not finite"),
        (put("bn1.bias", np.full(16, 1e300)), "bn1.bias has values that are not finite"),
        (put("bn9.num_batches_tracked", 3), "tensor bn9.num_batches_tracked does not belong to akamaster"),
        (
            put("bn1.num_batches_tracked", 0.5),
            "bn1.num_batches_tracked: expected one integer, found float64 ()",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path: pathlib.Path, change: Any, message: str) -> None:
    path = changed(akamaster_file(tmp_path), change)
    prefix = str(tmp_path / "net")
    text = refusal([path, "--network", "resnet20", "--model-prefix", prefix, *STATISTICS])
    assert text.startswith(f"{path}: ")
    assert message in text
    assert not list(tmp_path.glob("net*"))


def test_counters_of_batches_may_be_missing_and_doubles_and_halves_are_numbers(
    tmp_path: pathlib.Path,
) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        for name in [name for name in arrays if name.endswith("num_batches_tracked")]:
            del arrays[name]
        arrays["bn1.bias"] = arrays["bn1.bias"].astype(np.float64)
        arrays["bn1.weight"] = np.arange(16, dtype=np.float16)

    before = import_weights(akamaster_file(tmp_path), "resnet20")
    after = import_weights(changed(tmp_path / "resnet20.safetensors", change), "resnet20")
    assert list(after.arrays) == list(before.arrays)
    assert {array.dtype for array in after.arrays.values()} == {np.dtype(np.float32)}
    assert after.arrays["1.features.1.gamma"].tolist() == list(range(16))
    assert np.array_equal(after.arrays["1.features.1.beta"], before.arrays["1.features.1.beta"])


def test_names_behind_module_are_the_same(tmp_path: pathlib.Path) -> None:
    path = akamaster_file(tmp_path)
    expected = import_weights(path, "resnet20").arrays
    arrays = load_file(path)
    save_file({f"module.{name}": array for name, array in arrays.items()}, path)
    found = import_weights(path, "resnet20").arrays
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
    save_file({**arrays, "module.conv1.weight": arrays["conv1.weight"]}, path)
    with pytest.raises(ModelError, match="the file has module.conv1.weight, which"):
        import_weights(path, "resnet20")


def test_a_file_of_another_network_is_refused(tmp_path: pathlib.Path) -> None:
    akamaster, prefix = str(akamaster_file(tmp_path)), ["--model-prefix", str(tmp_path / "net"), *STATISTICS]
    assert "not the weights of resnet32: akamaster" in refusal([akamaster, "--network", "resnet32", *prefix])
    assert "not the weights of resnet18: torchvision" in refusal(
        [akamaster, "--network", "resnet18", *prefix]
    )
    text = refusal([akamaster, "--network", "resnet20", "--shortcut", "B", *prefix])
    assert "has layer2.0.shortcut.0.weight, layer2.0.shortcut.1.weight, layer2.0.shortcut.1.bias and" in text
    text = refusal([akamaster, "--network", "resnet20", "--from", "gluoncv", *prefix])
    assert "no resnet20 of GluonCV's" in text
    save_file({"a": np.ones(2, "f4"), "b": np.ones(2, "f4")}, tmp_path / "odd.safetensors")
    text = refusal([str(tmp_path / "odd.safetensors"), "--network", "resnet20", *prefix])
    save_file({"\x1b[31ma": np.ones(2, "f4")}, tmp_path / "escape.safetensors")
    assert " \\u001b[31ma" in refusal(
        [str(tmp_path / "escape.safetensors"), "--network", "resnet20", *prefix]
    )
    assert text.endswith(
        "no resnet20 of akamaster/pytorch_resnet_cifar10, GluonCV's cifar_resnet*_v1, "
        "GluonCV's cifar_resnet*_v2 has tensors like a, b"
    )


def test_two_networks_never_have_the_same_names() -> None:
    """Else a file could be taken for another project's."""
    for network in ("resnet18", "resnet50", "resnet20"):
        seen: set[frozenset[str]] = set()
        for layout in LAYOUTS:
            if layout.imagenet == (network != "resnet20"):
                for shortcut in layout.shortcuts:
                    layers = our_layers(get_model(network, 1, shortcut, layout.variant))
                    names = [name for _, tensors in layout.names.tensors(layers) for name in tensors.values()]
                    assert len(set(names)) == len(names)
                    assert frozenset(names) not in seen
                    seen.add(frozenset(names))
