"""A record file in FFCV's own format, .beton, with the same JPEG bytes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def beton(path: str) -> Iterator[tuple[str, dict[str, type]]]:
    """The name of a temporary .beton of the records in `path`, and the fields that a Loader needs to be told."""
    import simplejpeg
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.rgb_image import IMAGE_MODES
    from ffcv.writer import DatasetWriter

    from gluon_resnet.data import RecordFile

    class JpegField(RGBImageField):
        """FFCV's own field would decode the image and encode it anew."""

        def encode(self, destination: np.ndarray, payload: bytes, malloc: object) -> None:
            destination["height"], destination["width"], *_ = simplejpeg.decode_jpeg_header(payload)
            destination["mode"] = IMAGE_MODES["jpg"]
            destination["data_ptr"], storage = malloc(len(payload))
            storage[:] = np.frombuffer(payload, np.uint8)

    file = RecordFile(path)

    class Records:
        def __len__(self) -> int:
            return len(file)

        def __getitem__(self, index: int) -> tuple[bytes, int]:
            record = file[index]
            return record.payload, int(record.header.label[0])

    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "records.beton")
        writer = DatasetWriter(name, {"image": JpegField(), "label": IntField()}, num_workers=1)
        writer.from_indexed_dataset(Records())
        yield name, {"image": JpegField}
