"""Standard deviations of layer responses (He et al. 2015, §4.2 and Figure 7), as a JSON file; without MXNet.

{"format": "gluon-resnet layer responses 1",
 "network": "resnet20", "parameters": "runs/resnet20-0164.params", "epoch": 164,
 "data": ["cifar10_test.rec"], "images": 10000,
 "layers": [{"name": "conv0", "kernel": 3, "std": 0.81}, {"name": "stage1_unit1_conv0", ...}, ...],
 "command": "python3 tools/responses.py ...",
 "recomputed_statistics": []}                      or ["cifar10_train.rec"], as in evaluate.py's report
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass

from gluon_resnet.files import Path, whole_file
from gluon_resnet.json_values import (
    from_json,
    is_integer,
    is_number,
    is_text,
    read_json,
    require,
    taking_apart,
)

_FORMAT = "gluon-resnet layer responses 1"


@dataclass(frozen=True)
class LayerResponse:
    """The outputs of a convolution, after its batch normalization and before ReLU or addition, over some images.

    Raises UsageError for an impossible value.
    """

    name: str  # 'stage1_unit1_conv0': its position in the network
    kernel: int
    std: float  # over all images, channels and positions together

    def __post_init__(self) -> None:
        require(is_text(self.name), "name", "text", self.name)
        require(is_integer(self.kernel, 1, 1 << 14), "kernel", "a side in pixels", self.kernel)
        require(is_number(self.std, 0, sys.float_info.max), "std", "a number from 0", self.std)


@dataclass(frozen=True)
class Responses:
    """The layer responses of one trained network.

    Raises UsageError for an impossible value.
    """

    network: str
    parameters: str  # the file with its parameters
    epoch: int
    data: tuple[str, ...]  # the record files
    images: int
    layers: tuple[LayerResponse, ...]  # in the order of the network, without projection shortcuts
    command: str
    recomputed_statistics: tuple[
        str, ...
    ] = ()  # records that gave batch normalization's; (): the network's own

    def __post_init__(self) -> None:
        for name in ("network", "parameters", "command"):
            require(is_text(getattr(self, name)), name, "text", getattr(self, name))
        require(is_integer(self.epoch, 0, 1 << 53), "epoch", "a number from 0", self.epoch)
        require(is_integer(self.images, 1, 1 << 53), "images", "a number from 1", self.images)
        for name in ("data", "recomputed_statistics"):
            files = getattr(self, name)
            require(isinstance(files, tuple) and all(map(is_text, files)), name, "a list of files", files)
        layers = self.layers
        require(isinstance(layers, tuple) and len(layers) > 0, "layers", "a list of layers", layers)

    @property
    def stds(self) -> tuple[float, ...]:
        """The standard deviations of the 3x3 layers, as in Figure 7, in the order of the network."""
        return tuple(layer.std for layer in self.layers if layer.kernel == 3)

    @property
    def ranked(self) -> tuple[float, ...]:
        """`stds` in descending order."""
        return tuple(sorted(self.stds, reverse=True))

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the file."""
        with whole_file(path) as stream:
            stream.write(self.to_json())

    @staticmethod
    def load(path: Path) -> Responses:
        """Read what `save` wrote; DataError for anything else, OSError if there is no file."""
        path = os.fspath(path)
        with taking_apart(path, "a file of layer responses"):
            values = read_json(path, format=_FORMAT)
            values.setdefault("recomputed_statistics", [])  # which files from before version 0.2 do not have
            return from_json(Responses, values, "the file")
