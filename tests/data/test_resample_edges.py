"""Scaling at the edges of a crop, where OpenCV rounds rows in another way than columns."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gluon_resnet.data import EvalTransform, TrainTransform
from tests.support.pictures import picture


@pytest.mark.parametrize("size", [32, 64, 97])
def test_an_enlarged_crop_is_opencvs_to_its_edges(size: int) -> None:
    transform = TrainTransform(size=size, mean=(0, 0, 0), std=(1, 1, 1))
    enlarged = 0
    for seed in range(60):
        image = picture(50 + seed % 17, 60 + seed % 13, seed)
        drawn, _ = transform.native.draw(image.shape[1], image.shape[0], 0, 0, seed)
        region = image[drawn["y"] : drawn["y"] + drawn["height"], drawn["x"] : drawn["x"] + drawn["width"]]
        expected = cv2.resize(np.ascontiguousarray(region), (size, size))
        if drawn["flip"]:
            expected = expected[:, ::-1]
        enlarged += drawn["height"] < size
        found = transform.native.transform(image, "uint8", "NHWC", 0, 0, seed)
        np.testing.assert_array_equal(found, expected, err_msg=str(drawn))
    assert enlarged > 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (2, 7), (7, 3)])
def test_a_few_pixels_enlarged_are_opencvs(shape: tuple[int, int]) -> None:
    transform = EvalTransform(size=40, resize=40, mean=(0, 0, 0), std=(1, 1, 1))
    image = picture(*shape)
    height, width = (40 * length // min(shape) for length in shape)
    y, x = (height - 40) // 2, (width - 40) // 2
    expected = cv2.resize(image, (width, height))[y : y + 40, x : x + 40]
    found = transform.native.transform(image, "uint8", "NHWC", 0, 0, 0)
    np.testing.assert_array_equal(found, expected)
