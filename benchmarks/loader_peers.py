"""The loaders that benchmarks/loader.py compares: the same records, the same work, one generator each.

Every peer is a function of a `Job` that makes float32 NCHW batches, normalized, for ever, and yields the number of
images in each. A peer whose library is not installed raises ImportError.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Callable

import numpy as np
from loader_ffcv import beton

MEAN = (123.68, 116.779, 103.939)
STD = (58.393, 57.12, 57.375)


@dataclass(frozen=True)
class Job:
    """What to load: `work` is 'train' (random-resized 224), 'eval' (256, centre 224) or 'cifar' (pad 4, 32)."""

    path: str  # of the .rec
    work: str
    batch_size: int
    threads: int

    @property
    def size(self) -> int:
        return 32 if self.work == "cifar" else 224

    @property
    def index_path(self) -> str:
        return os.path.splitext(self.path)[0] + ".idx"

    @cached_property
    def records(self) -> int:
        with open(self.index_path, "rb") as index:
            return sum(1 for _ in index)


def ours(job: Job, **options: object) -> Iterator[int]:
    from gluon_resnet.data import EvalTransform, Loader, TrainTransform

    transform = {
        "train": TrainTransform(mean=MEAN, std=STD),
        "eval": EvalTransform(mean=MEAN, std=STD),
        "cifar": TrainTransform(size=32, crop="pad", mean=MEAN, std=STD),
    }[job.work]
    shuffle = job.work != "eval"
    loader = Loader(job.path, job.batch_size, transform, shuffle=shuffle, threads=job.threads, **options)
    while True:
        for batch in loader:
            yield len(batch) - batch.pad


def libjpeg_turbo(job: Job) -> Iterator[int]:
    """The reference line: only a full decode of each image, in processes, since threads wait for Python's lock."""
    import simplejpeg  # noqa: F401  missing, it is missed here

    with ProcessPoolExecutor(job.threads, initializer=_open_for_decoding, initargs=(job.path,)) as pool:
        starts = itertools.cycle(range(0, job.records, job.batch_size))
        parts = (range(start, min(start + job.batch_size, job.records)) for start in starts)
        under_way = deque(pool.submit(_decode_wholly, next(parts)) for _ in range(2 * job.threads))
        while True:
            yield under_way.popleft().result()
            under_way.append(pool.submit(_decode_wholly, next(parts)))


_decoding: dict[str, object] = {}  # of a process of libjpeg_turbo()


def _open_for_decoding(path: str) -> None:
    from gluon_resnet.data import RecordFile

    # What of the memory no image touches costs nothing.
    _decoding.update(file=RecordFile(path), pixels=np.empty(1 << 28, np.uint8))


def _decode_wholly(part: range) -> int:
    import simplejpeg

    for index in part:
        simplejpeg.decode_jpeg(_decoding["file"][index].payload, "RGB", buffer=_decoding["pixels"])
    return len(part)


def image_record_iter(job: Job) -> Iterator[int]:
    from gluon_resnet._mxnet import mx

    options = {
        "train": {"random_resized_crop": True, "min_random_area": 0.08, "max_random_area": 1.0,
                  "min_aspect_ratio": 3 / 4, "max_aspect_ratio": 4 / 3, "rand_mirror": True, "shuffle": True},
        "eval": {"resize": 256},
        "cifar": {"pad": 4, "rand_crop": True, "rand_mirror": True, "shuffle": True},
    }[job.work]  # fmt: skip
    names = [f"{kind}_{c}" for kind in ("mean", "std") for c in "rgb"]
    data = mx.io.ImageRecordIter(
        path_imgrec=job.path,
        path_imgidx=job.index_path,
        data_shape=(3, job.size, job.size),
        batch_size=job.batch_size,
        preprocess_threads=job.threads,
        **dict(zip(names, (*MEAN, *STD))),
        **options,
    )
    while True:
        for batch in data:
            batch.data[0].wait_to_read()
            yield job.batch_size - batch.pad
        data.reset()


def dali(job: Job) -> Iterator[int]:
    from nvidia.dali import fn, pipeline_def, types

    def make(jpegs: object) -> object:
        mirror = fn.random.coin_flip() if job.work != "eval" else 0
        normal = {
            "dtype": types.FLOAT,
            "output_layout": "CHW",
            "mean": list(MEAN),
            "std": list(STD),
            "mirror": mirror,
        }
        if job.work == "train":
            images = fn.decoders.image_random_crop(jpegs, device="cpu", output_type=types.RGB)
            images = fn.resize(images, size=224, interp_type=types.INTERP_LINEAR, antialias=False)
            return fn.crop_mirror_normalize(images, **normal)
        images = fn.decoders.image(jpegs, device="cpu", output_type=types.RGB)
        if job.work == "eval":
            images = fn.resize(images, resize_shorter=256, interp_type=types.INTERP_LINEAR, antialias=False)
            return fn.crop_mirror_normalize(images, crop=(224, 224), **normal)
        images = fn.paste(images, ratio=1.25, fill_value=0)  # 40 x 40
        place = {
            "crop_pos_x": fn.random.uniform(range=(0.0, 1.0)),
            "crop_pos_y": fn.random.uniform(range=(0.0, 1.0)),
        }
        return fn.crop_mirror_normalize(images, crop=(32, 32), **place, **normal)

    @pipeline_def(batch_size=job.batch_size, num_threads=job.threads, device_id=None)
    def pipeline() -> object:
        jpegs, labels = fn.readers.mxnet(
            path=[job.path], index_path=[job.index_path], random_shuffle=job.work != "eval", name="reader"
        )
        return make(jpegs), labels

    pipe = pipeline()
    pipe.build()
    while True:  # it begins anew by itself, in the middle of a batch
        images, _ = pipe.run()
        yield len(images.as_array())  # what a user of the CPU gets


def ffcv(job: Job) -> Iterator[int]:
    """Over the same JPEG bytes in a file of its own format, which is made before the first batch."""
    import torch
    from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder as WholeImage
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, RandomTranslate, ToTensor, ToTorchImage

    square = (job.size, job.size)
    steps = {
        "train": [RandomResizedCropRGBImageDecoder(square), RandomHorizontalFlip()],
        "eval": [CenterCropRGBImageDecoder(square, 224 / 256)],
        "cifar": [WholeImage(), RandomHorizontalFlip(), RandomTranslate(4)],
    }[job.work]
    steps += [NormalizeImage(np.array(MEAN), np.array(STD), np.float32), ToTensor(), ToTorchImage(False)]
    with beton(job.path) as (path, fields):
        loader = Loader(
            path,
            job.batch_size,
            num_workers=job.threads,
            os_cache=True,
            order=OrderOption.SEQUENTIAL if job.work == "eval" else OrderOption.RANDOM,
            pipelines={"image": steps, "label": None},
            custom_fields=fields,
        )
        torch.set_num_threads(1)
        while True:
            for (images,) in loader:
                yield len(images)


def _threaded(job: Job, decode: Callable[[bytes], np.ndarray]) -> Iterator[int]:
    """What people write around a decoder: OpenCV in a pool of Python threads, batches in memory used again."""
    import cv2

    from gluon_resnet.data import RecordFile

    cv2.setNumThreads(1)
    file = RecordFile(job.path)
    order = list(range(len(file)))
    out = np.empty((job.batch_size, 3, job.size, job.size), np.float32)
    scale = np.float32(1) / np.float32(STD)
    shift = -np.float32(MEAN) * scale

    def region(height: int, width: int) -> tuple[int, int, int, int]:
        for _ in range(10):
            area = height * width * random.uniform(0.08, 1)
            ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if 0 < w <= width and 0 < h <= height:
                return random.randint(0, height - h), random.randint(0, width - w), h, w
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side

    def load(row: int, index: int) -> None:
        image = decode(file[index].payload)
        height, width = image.shape[:2]
        if job.work == "train":
            y, x, h, w = region(height, width)
            image = cv2.resize(image[y : y + h, x : x + w], (224, 224))
        elif job.work == "eval":
            short = min(height, width)
            image = cv2.resize(image, (width * 256 // short, height * 256 // short))
            y, x = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
            image = image[y : y + 224, x : x + 224]
        else:
            image = cv2.copyMakeBorder(image, 4, 4, 4, 4, cv2.BORDER_CONSTANT)
            y, x = random.randint(0, 8), random.randint(0, 8)
            image = image[y : y + 32, x : x + 32]
        if job.work != "eval" and random.random() < 0.5:
            image = cv2.flip(image, 1)
        for c in range(3):
            np.multiply(image[:, :, c], scale[c], out=out[row, c])
            out[row, c] += shift[c]

    with ThreadPoolExecutor(job.threads) as pool:
        while True:
            if job.work != "eval":
                random.shuffle(order)
            for start in range(0, len(order), job.batch_size):
                part = order[start : start + job.batch_size]
                list(pool.map(load, range(len(part)), part))
                yield len(part)


def opencv(job: Job) -> Iterator[int]:
    import cv2

    def decode(payload: bytes) -> np.ndarray:
        return cv2.cvtColor(
            cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        )

    return _threaded(job, decode)


def simplejpeg(job: Job) -> Iterator[int]:
    import simplejpeg as library

    return _threaded(job, lambda payload: library.decode_jpeg(payload, "RGB"))


def pillow(job: Job) -> Iterator[int]:
    import io

    from PIL import Image

    return _threaded(job, lambda payload: np.asarray(Image.open(io.BytesIO(payload)).convert("RGB")))


OURS = "gluon-resnet"
PEERS: dict[str, Callable[[Job], Iterator[int]]] = {
    OURS: ours,
    f"{OURS}, fast": partial(ours, fast=True),
    f"{OURS}, cache='decoded'": partial(ours, cache="decoded"),
    "DALI": dali,
    "FFCV": ffcv,
    "simplejpeg": simplejpeg,
    "OpenCV": opencv,
    "Pillow": pillow,
    "ImageRecordIter": image_record_iter,
    "libjpeg-turbo, full decode only": libjpeg_turbo,
}
