"""Batches as tensors of other libraries, by DLPack: without a copy, for as long as the tensor lives."""

from __future__ import annotations

import concurrent.futures
import ctypes
import gc
import os
from typing import Any, Callable

import numpy as np
import pytest

from gluon_resnet.data import Batch, Loader, TrainTransform
from gluon_resnet.errors import UsageError
from tests.support.batches import EVAL, TRAIN

DTYPES = ("uint8", "float16", "float32")
LAYOUTS = ("NCHW", "NHWC")


def one_batch(path: str, **options: Any) -> Batch:
    (batch,) = Loader(path, 23, TRAIN, **options)
    return batch


def address(tensor: Any) -> int:
    if isinstance(tensor, np.ndarray):
        return tensor.ctypes.data
    return tensor.data_ptr() if hasattr(tensor, "data_ptr") else tensor.unsafe_buffer_pointer()


def by_torch(batch: Any) -> Any:
    return pytest.importorskip("torch").from_dlpack(batch)


def by_jax(batch: Any) -> Any:
    return pytest.importorskip("jax.numpy").from_dlpack(batch)


@pytest.fixture(params=[np.from_dlpack, by_torch, by_jax], ids=["numpy", "torch", "jax"])
def take(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """What makes a tensor of a batch."""
    return request.param


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_shares_the_batchs_memory(record_path: str, take: Callable, dtype: str, layout: str) -> None:
    batch = one_batch(record_path, dtype=dtype, layout=layout)
    tensor = take(batch)
    assert address(tensor) == address(batch.data)
    assert str(tensor.dtype).split(".")[-1] == dtype
    np.testing.assert_array_equal(np.asarray(tensor), batch.data)
    again = take(batch)
    del tensor
    assert address(again) == address(batch.data)


def test_what_is_written_to_one_is_seen_in_the_other(record_path: str, take: Callable) -> None:
    batch = one_batch(record_path)
    tensor = take(batch)
    batch.data[3] = 7
    assert (np.asarray(tensor)[3] == 7).all()
    if take is by_torch:  # NumPy before 2 and JAX do not write to what they took
        tensor[4] = 8
        assert (batch.data[4] == 8).all()


def test_a_tensor_outlives_batch_epoch_and_loader(record_path: str, take: Callable) -> None:
    loader = Loader(record_path, 2, TRAIN, threads=2)
    epoch = iter(loader)
    batch = next(epoch)
    tensor, copy = take(batch), batch.data.copy()
    del batch
    for later in epoch:  # as many as want the memory
        assert address(later.data) != address(tensor)
    del later, epoch, loader
    gc.collect()
    np.testing.assert_array_equal(np.asarray(tensor), copy)


def test_a_released_batch_leaves_its_tensors_valid(record_path: str, take: Callable) -> None:
    loader = Loader(record_path, 2, TRAIN, threads=1, prefetch=1)
    epoch = iter(loader)
    batch = next(epoch)
    tensor, copy = take(batch), batch.data.copy()
    batch.release()
    with pytest.raises(UsageError, match="released"):
        batch.__dlpack__()
    for later in epoch:
        later.release()
    np.testing.assert_array_equal(np.asarray(tensor), copy)


def test_memory_is_used_again_when_the_tensor_dies(record_path: str, take: Callable) -> None:
    epoch = iter(Loader(record_path, 1, TRAIN, threads=1, prefetch=1))
    tensor = take(next(epoch))
    lent = address(tensor)
    kept = [next(epoch) for _ in range(8)]  # so that the tensor's is the only memory that comes back
    assert lent not in {address(batch.data) for batch in kept}
    del tensor
    gc.collect()
    assert lent in {address(batch.data) for batch in epoch}


@pytest.mark.parametrize("threads", [1, 8])
def test_tensors_die_in_any_thread(record_path: str, take: Callable, threads: int) -> None:
    def sums(loader: Loader, pool: concurrent.futures.Executor) -> list[float]:
        return list(pool.map(lambda tensor: float(np.asarray(tensor).sum()), map(take, loader)))

    loaders = [Loader(record_path, 2, TRAIN, threads=threads, seed=3) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            expected = [float(batch.data.sum()) for batch in loaders[0]]
            assert sums(loaders[1], pool) == expected


def test_an_empty_batch(record_path: str) -> None:
    *_, batch = Loader(record_path, 11, EVAL, rank=1, world_size=2, last_batch="keep")
    assert np.from_dlpack(batch).shape == (0, 3, 32, 32)


# The structures as github.com/dmlc/dlpack has them.
class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class Versioned(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint32 * 2),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


def open_capsule(capsule: object) -> tuple[str, Any]:
    """Its name, and the structure that it holds."""
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    name = name_of(capsule)
    kind = Versioned if name == b"dltensor_versioned" else Managed
    return name.decode(), kind.from_address(pointer_of(capsule, name))


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (None, "dltensor"),
        ((0, 8), "dltensor"),
        ((1, 0), "dltensor_versioned"),
        ((1, 3), "dltensor_versioned"),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_capsule_is_as_its_version_has_it(
    record_path: str, dtype: str, version: tuple | None, name: str
) -> None:
    batch = one_batch(record_path, dtype=dtype, layout="NHWC")
    capsule = batch.__dlpack__(max_version=version)
    found, managed = open_capsule(capsule)
    assert found == name
    if name == "dltensor_versioned":
        assert list(managed.version) == [1, 0]
        assert managed.flags == 0
    tensor = managed.tensor
    assert tensor.data == address(batch.data)
    assert tensor.data % 64 == 0  # JAX takes no other without a copy
    assert tensor.byte_offset == 0
    assert tuple(tensor.device) == batch.__dlpack_device__() == (1, 0)
    item = np.dtype(dtype)
    assert (tensor.code, tensor.bits, tensor.lanes) == (1 if item.kind == "u" else 2, 8 * item.itemsize, 1)
    assert tensor.shape[: tensor.ndim] == list(batch.data.shape)
    assert tensor.strides[: tensor.ndim] == [step // item.itemsize for step in batch.data.strides]


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_copy_has_memory_of_its_own(record_path: str, version: tuple | None) -> None:
    batch = one_batch(record_path)
    for copy in (None, False):
        capsule = batch.__dlpack__(max_version=version, copy=copy)
        assert open_capsule(capsule)[1].tensor.data == address(batch.data)
    capsule = batch.__dlpack__(max_version=version, copy=True)
    _, managed = open_capsule(capsule)
    assert managed.tensor.data != address(batch.data)
    assert ctypes.string_at(managed.tensor.data, batch.data.nbytes) == batch.data.tobytes()
    if version:
        assert managed.flags == 2  # DLPACK_FLAG_BITMASK_IS_COPIED


def test_torch_asks_for_a_device_and_a_copy(record_path: str) -> None:
    torch = pytest.importorskip("torch")
    batch = one_batch(record_path)
    assert torch.from_dlpack(batch, device="cpu", copy=False).data_ptr() == address(batch.data)
    copied = torch.from_dlpack(batch, copy=True)
    assert copied.data_ptr() != address(batch.data)
    np.testing.assert_array_equal(copied.numpy(), batch.data)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"dl_device": (2, 0)}, r"dl_device: expected \(1, 0\).*found \(2, 0\)"),
        ({"dl_device": (2, 0), "copy": True}, "dl_device"),
        ({"stream": 1}, "stream: expected None"),
    ],
)
def test_what_memory_of_the_cpu_cannot_do_is_refused(record_path: str, wish: dict, words: str) -> None:
    batch = one_batch(record_path)
    with pytest.raises(BufferError, match=words):
        batch.__dlpack__(**wish)
    assert batch.__dlpack__(dl_device=(1, 0), stream=None) is not None


def test_a_capsule_is_taken_only_once(record_path: str) -> None:
    torch = pytest.importorskip("torch")
    batch = one_batch(record_path)
    capsule = batch.__dlpack__()
    tensor = torch.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="only once|invalid capsule"):
        torch.from_dlpack(capsule)
    del capsule
    assert tensor.data_ptr() == address(batch.data)


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_capsule_that_nobody_took_gives_its_memory_back(record_path: str, version: tuple | None) -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    batch = next(iter(Loader(record_path, 8, TrainTransform(size=224))))
    before = resident()
    for _ in range(100):  # of 4.8 MB
        batch.__dlpack__(max_version=version, copy=True)
    assert resident() - before < 96 << 20
