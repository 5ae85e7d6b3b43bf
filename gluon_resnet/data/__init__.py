"""Reading and packing RecordIO files of images; works without MXNet."""

from gluon_resnet.data.loader import Batch, Loader, SkippedRecord
from gluon_resnet.data.mxnet_adapter import mxnet_iter
from gluon_resnet.data.records import Header, Record, RecordFile
from gluon_resnet.data.transforms import ColourJitter, EvalTransform, TrainTransform, decode

__all__ = [
    "Batch",
    "ColourJitter",
    "EvalTransform",
    "Header",
    "Loader",
    "Record",
    "RecordFile",
    "SkippedRecord",
    "TrainTransform",
    "decode",
    "mxnet_iter",
]
