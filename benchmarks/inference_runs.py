"""What benchmarks/inference.py compares: one generator for each way to run the same network, one pass a `next()`.

A pass is one batch, to logits on the host: of an array that is there (float32, 0 to 255), or of JPEG files, of which
each decodes the next batch in `threads` threads meanwhile. A peer whose library is not installed raises ImportError.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Optional

import numpy as np

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Job:
    """A network of random weights, and its batches."""

    network: str
    batch_size: int
    size: int  # of the images, in pixels
    resize: Optional[int]
    classes: int
    threads: int
    prefix: str  # of its exported files; PREFIX-int8 is its INT8 network
    images: Optional[str]  # a folder of JPEG files
    program: Optional[str]  # the C++ one


def _array(job: Job) -> np.ndarray:
    shape = (job.batch_size, 3, job.size, job.size)
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def _files(job: Job) -> Iterator[str]:
    """The JPEG files, round and round."""
    assert job.images
    return itertools.cycle([os.path.join(job.images, name) for name in sorted(os.listdir(job.images))])


def _batches(job: Job, read: Callable[[str], Any]) -> Iterator[list[Any]]:
    """What `read` makes of the files, a batch at a time, the next one in threads meanwhile."""
    files = _files(job)
    with ThreadPoolExecutor(job.threads) as pool:
        waiting: list[Future[Any]] = []
        while True:
            queued = [pool.submit(read, path) for path in itertools.islice(files, job.batch_size)]
            if waiting:
                yield [future.result() for future in waiting]
            waiting = queued


def mxnet(job: Job, fused: bool) -> Iterator[None]:
    """The exported files as MXNet's documentation has it: SymbolBlock, hybridized; or with oneDNN's fusion."""
    from gluon_resnet._mxnet import gluon, mx
    from gluon_resnet.deploy.symbol_file import SymbolFile

    # As SymbolBlock.imports, which warns that it does not know the input's dtype.
    net = gluon.SymbolBlock(
        SymbolFile(f"{job.prefix}-symbol.json").symbol, mx.sym.var("data", dtype="float32")
    )
    net.collect_params().load(f"{job.prefix}-0000.params")
    array = _array(job)
    net.hybridize(static_alloc=True, static_shape=True)
    if fused:
        net.optimize_for(mx.nd.array(array), backend="MKLDNN", static_alloc=True, static_shape=True)
    while True:
        net(mx.nd.array(array)).asnumpy()
        yield


def ours(job: Job, end: str = "", backend: str = "mxnet") -> Iterator[None]:
    """Our Python predictor."""
    from gluon_resnet.deploy import Predictor

    predictor = Predictor(job.prefix + end, backend=backend, batch_size=job.batch_size, threads=job.threads)
    array = _array(job)
    while True:
        predictor.forward(array)
        yield


def ours_on_files(job: Job, end: str = "") -> Iterator[None]:
    """The same on files, as tools/predict.py."""
    from gluon_resnet.deploy import Predictor

    predictor = Predictor(job.prefix + end, batch_size=job.batch_size, threads=job.threads)
    for batch in predictor.batches(_files(job), lambda path: path):
        predictor.forward(np.stack([future.result() for _, future in batch]))
        yield


def program_on_files(job: Job, end: str = "") -> Iterator[None]:
    """Our C++ program, which reads names from a pipe: it always has those of the next batch."""
    if job.program is None:
        raise ImportError("the C++ program is not built: make predict")
    sizes = ["--batch-size", str(job.batch_size), "--threads", str(job.threads), "--top-k", "1"]
    process = subprocess.Popen(
        [job.program, job.prefix + end, "--stdin", "--json", *sizes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    files = _files(job)
    for number in itertools.count():
        process.stdin.write("".join(f"{path}\n" for path in itertools.islice(files, job.batch_size)))
        process.stdin.flush()
        if number == 0:
            continue
        for _ in range(job.batch_size):
            if not process.stdout.readline():
                sys.exit("the C++ program ended")
        yield


def _session(job: Job) -> Callable[[np.ndarray], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(f"{job.prefix}.onnx", options, providers=["CPUExecutionProvider"])
    return lambda array: session.run(["logits"], {"data": array})


def onnxruntime(job: Job) -> Iterator[None]:
    """float32, its default optimizations, as many threads; our ONNX file, the logits alone."""
    run, array = _session(job), _array(job)
    while True:
        run(array)
        yield


def onnxruntime_on_files(job: Job) -> Iterator[None]:
    """With OpenCV: decode, the shorter side to `resize` pixels, the centre; normalization is in the graph."""
    import cv2

    cv2.setNumThreads(1)  # each image has a thread

    def read(path: str) -> np.ndarray:
        image = cv2.imread(path)[:, :, ::-1]
        if job.resize:
            scale = job.resize / min(image.shape[:2])
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        top, left = ((side - job.size) // 2 for side in image.shape[:2])
        return image[top : top + job.size, left : left + job.size].transpose(2, 0, 1).astype(np.float32)

    run = _session(job)
    for images in _batches(job, read):
        run(np.stack(images))
        yield


def _torch_net(job: Job, way: str) -> Callable[[Any], Any]:
    import torch

    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
    from torch_resnet import random_net  # torchvision's networks, and those of CIFAR, which it has not

    torch.set_num_threads(job.threads)
    layout = torch.channels_last if "channels_last" in way else torch.contiguous_format
    net = random_net(int(job.network.removeprefix("resnet")), job.classes).to(memory_format=layout)
    example = torch.zeros(job.batch_size, 3, job.size, job.size).contiguous(memory_format=layout)
    with torch.inference_mode():
        if "jit" in way:
            net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, example)))
        if "compiled" in way:
            net = torch.compile(net)
    return lambda array: net(array.contiguous(memory_format=layout))


def pytorch(job: Job, way: str) -> Iterator[None]:
    """On a tensor that is normalized already."""
    import torch

    net = _torch_net(job, way)
    layout = torch.channels_last if "channels_last" in way else torch.contiguous_format
    array = torch.from_numpy(_array(job)).contiguous(memory_format=layout)
    with torch.inference_mode():
        while True:
            net(array).numpy()
            yield


def pytorch_on_files(job: Job, way: str) -> Iterator[None]:
    """With Pillow, as torchvision's transforms: resize by bilinear interpolation, crop, scale, normalize."""
    import torch
    from PIL import Image

    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))

    def read(path: str) -> Any:
        image = Image.open(path).convert("RGB")
        if job.resize:
            scale = job.resize / min(image.size)
            width, height = (round(side * scale) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = ((side - job.size) // 2 for side in image.size)
        pixels = np.array(image.crop((left, top, left + job.size, top + job.size)), np.float32)
        return (torch.from_numpy(pixels).permute(2, 0, 1) - mean) / std

    net = _torch_net(job, way)
    with torch.inference_mode():
        for images in _batches(job, read):
            net(torch.stack(images)).numpy()
            yield


OURS = "gluon-resnet"
WAYS = ("", ", channels_last", ", jit", ", channels_last, jit")
ARRAYS: dict[str, Callable[[Job], Iterator[None]]] = {
    OURS: ours,
    f"{OURS}, INT8": partial(ours, end="-int8"),
    "MXNet": partial(mxnet, fused=False),
    "MXNet, fused": partial(mxnet, fused=True),
    "onnxruntime": onnxruntime,
    **{f"PyTorch{way}": partial(pytorch, way=way) for way in WAYS},
}
COMPILED: dict[str, Callable[[Job], Iterator[None]]] = {
    f"PyTorch{way}, compiled": partial(pytorch, way=f"{way}, compiled") for way in WAYS[:2]
}
FILES: dict[str, Callable[[Job], Iterator[None]]] = {
    f"{OURS}, files": ours_on_files,
    f"{OURS}, INT8, files": partial(ours_on_files, end="-int8"),
    f"{OURS}, C++, files": program_on_files,
    f"{OURS}, C++, INT8, files": partial(program_on_files, end="-int8"),
    "onnxruntime, OpenCV, files": onnxruntime_on_files,
    "PyTorch, channels_last, jit, Pillow, files": partial(pytorch_on_files, way=", channels_last, jit"),
}
RUNS = {**ARRAYS, **COMPILED, **FILES}
