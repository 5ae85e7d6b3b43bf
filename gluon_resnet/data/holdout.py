"""Setting some records of a file aside for validation: two indexes of one .rec."""

from __future__ import annotations

import os

import numpy as np

from gluon_resnet.data.records import RecordFile
from gluon_resnet.errors import UsageError
from gluon_resnet.files import Path, whole_file


def hold_out(
    file: RecordFile, count: int, train_index: Path, holdout_index: Path
) -> tuple[RecordFile, RecordFile]:
    """Draw `count` of the file's images at random, and return the file without them and the file with only them.

    The choice depends only on the number of images: it is the first `count` positions of
    ``numpy.random.RandomState(0).permutation(images)``, a sequence that NumPy has promised never to change. It is not
    stratified by class. The indexes are written to the two paths in the order of the file, and their folders are
    created; ``RecordFile(path, index_path)`` opens either part later.

    Raises:
        UsageError: `count` would leave either part empty.
    """
    images = np.asarray(file.images)
    if not 0 < count < len(images):
        raise UsageError(
            f"{count} records cannot be held out of the {len(images)} images in {file.path}: "
            "both parts need at least one"
        )
    held = np.zeros(len(images), bool)
    held[np.random.RandomState(0).permutation(len(images))[:count]] = True
    for path, chosen in ((train_index, images[~held]), (holdout_index, images[held])):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with whole_file(path) as stream:
            stream.writelines(f"{file.key(i)}\t{file.offset(i)}\n" for i in chosen.tolist())
    return RecordFile(file.path, train_index), RecordFile(file.path, holdout_index)
