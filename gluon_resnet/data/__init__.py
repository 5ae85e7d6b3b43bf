"""Reading and packing RecordIO files of images; works without MXNet.

`Loader` makes batches from records, using a `TrainTransform` or an `EvalTransform`; `RecordFile` reads records one by
one; `pack` writes them from a `Folder`, a `TarArchive` or `cifar10_sources`; `check` looks for damage;
`pixel_statistics` computes the mean image. The guide is docs/loader.md. A bad argument raises UsageError and a bad
file DataError (gluon_resnet.errors).
"""

import gluon_resnet.data.extension  # noqa: F401  first: it says what to do if the extension is missing
from gluon_resnet.data.loader import Batch, Loader
from gluon_resnet.data.loader_stats import BadRecord, LoaderStats
from gluon_resnet.data.mxnet_adapter import mxnet_iter
from gluon_resnet.data.packing.checking import check, rebuild_index
from gluon_resnet.data.packing.cifar10 import cifar10_sources
from gluon_resnet.data.packing.pack import BadImagesError, PackOptions, PackReport, pack
from gluon_resnet.data.packing.sources import Folder
from gluon_resnet.data.packing.tar_archive import TarArchive
from gluon_resnet.data.records import Header, Record, RecordFile
from gluon_resnet.data.statistics import PixelStatistics, pixel_statistics
from gluon_resnet.data.torch_adapter import torch_dataset
from gluon_resnet.data.transforms import ColorJitter, EvalTransform, TrainTransform, decode, image_size

__all__ = [
    "BadImagesError",
    "BadRecord",
    "Batch",
    "ColorJitter",
    "EvalTransform",
    "Folder",
    "Header",
    "Loader",
    "LoaderStats",
    "PackOptions",
    "PackReport",
    "PixelStatistics",
    "Record",
    "RecordFile",
    "TarArchive",
    "TrainTransform",
    "check",
    "cifar10_sources",
    "decode",
    "image_size",
    "mxnet_iter",
    "pack",
    "pixel_statistics",
    "rebuild_index",
    "torch_dataset",
]
