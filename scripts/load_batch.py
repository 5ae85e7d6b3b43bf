"""Pack pictures and load a batch of them with the installed gluon-resnet; run by check_install.sh and cibuildwheel.

python load_batch.py [--own-libraries]     refuse a libjpeg, libpng or OpenCV of the system, which a wheel carries
"""

import os
import subprocess
import sys
import tempfile

import cv2
import numpy as np

import gluon_resnet
from gluon_resnet.data import Loader, RecordFile, TrainTransform

BUNDLED = ("libjpeg", "libpng", "libopencv", "libtbb", "liblapack", "libblas", "libGL", "libX11")


def command(*arguments: str) -> str:
    """What `gluon-resnet` prints, as pip has installed it beside this interpreter."""
    script = os.path.join(os.path.dirname(sys.executable), "gluon-resnet")
    return subprocess.run([script, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    assert gluon_resnet.__file__.startswith(sys.prefix), f"{gluon_resnet.__file__} is not the installed one"
    assert command("--version") == f"gluon-resnet {gluon_resnet.__version__}\n"

    random = np.random.default_rng(0)
    for name in "cat/0.jpg", "cat/1.png", "dog/2.jpg", "dog/3.bmp":
        path = os.path.join("pictures", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        assert cv2.imwrite(path, random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    command("im2rec", "packed", "pictures")
    assert len(RecordFile("packed.rec")) == 4
    (batch,) = Loader("packed.rec", 4, TrainTransform(32), shuffle=True, seed=0, threads=2)
    assert (batch.data.shape, batch.data.dtype) == ((4, 3, 32, 32), np.float32)
    assert batch.data.std() > 1
    assert sorted(batch.label.ravel()) == [0, 0, 1, 1]

    if "--own-libraries" in sys.argv:
        with open("/proc/self/maps") as maps:
            libraries = {line.split()[-1] for line in maps if ".so" in line}
        ours = [path for path in libraries if os.path.basename(path).startswith(BUNDLED)]
        foreign = [path for path in ours if not path.startswith(sys.prefix)]
        assert ours, "the wheel carries no libraries"
        assert not foreign, f"taken from the system: {foreign}"
    print(f"a batch on Python {sys.version.split()[0]}, numpy {np.__version__}, OpenCV {cv2.__version__}")


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    main()
