"""The loaders that benchmarks/loader.py compares: the same records, the same work, one generator each.

Every peer is a function of a `Job` that yields the number of images in each batch, for ever or for one epoch,
and makes float32 NCHW batches, normalized. A peer whose library is not installed raises ImportError.
"""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Optional

import numpy as np

if TYPE_CHECKING:
    from gluon_resnet.data import Loader

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


def _our_loader(job: Job, cache: Optional[str] = None) -> Loader:
    from gluon_resnet.data import EvalTransform, Loader, TrainTransform

    transform = {
        "train": TrainTransform(mean=MEAN, std=STD),
        "eval": EvalTransform(mean=MEAN, std=STD),
        "cifar": TrainTransform(size=32, crop="pad", mean=MEAN, std=STD),
    }[job.work]
    shuffle = job.work != "eval"
    return Loader(job.path, job.batch_size, transform, shuffle=shuffle, threads=job.threads, cache=cache)


def ours(job: Job) -> Iterator[int]:
    for batch in _our_loader(job):
        yield len(batch) - batch.pad


_cached_loader = functools.cache(_our_loader)  # its images stay from epoch to epoch


def ours_cached(job: Job) -> Iterator[int]:
    for batch in _cached_loader(job, "decoded"):
        yield len(batch) - batch.pad


def libjpeg_turbo(job: Job) -> Iterator[int]:
    """The reference line: only a full decode of each image, by our binding of libjpeg-turbo."""
    from gluon_resnet.data import RecordFile, decode

    file = RecordFile(job.path)
    with ThreadPoolExecutor(job.threads) as pool:
        for _ in pool.map(lambda i: decode(file[i].payload), range(len(file))):
            yield 1


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
    for batch in data:
        batch.data[0].wait_to_read()
        yield job.batch_size - batch.pad


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
    left = pipe.epoch_size("reader")
    while left > 0:
        images, _ = pipe.run()
        images.as_array()  # what a user of the CPU gets
        yield min(left, job.batch_size)
        left -= job.batch_size


def _threaded(job: Job, decode: Callable[[bytes], np.ndarray]) -> Iterator[int]:
    """What people write around a decoder: OpenCV in a pool of Python threads, batches in memory used again."""
    import cv2

    from gluon_resnet.data import RecordFile

    cv2.setNumThreads(1)
    file = RecordFile(job.path)
    order = list(range(len(file)))
    if job.work != "eval":
        random.shuffle(order)
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


PEERS: dict[str, Callable[[Job], Iterator[int]]] = {
    "gluon-resnet": ours,
    "gluon-resnet, cache='decoded'": ours_cached,
    "DALI": dali,
    "simplejpeg": simplejpeg,
    "OpenCV": opencv,
    "Pillow": pillow,
    "ImageRecordIter": image_record_iter,
    "libjpeg-turbo, full decode only": libjpeg_turbo,
}
