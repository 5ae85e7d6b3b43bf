"""Fuzzes one of the Python targets with atheris, libFuzzer for Python.

python tests/fuzz/fuzz.py TARGET [OPTION ...] [FOLDER ...]     options and folders are libFuzzer's
"""

from __future__ import annotations

import contextlib
import pathlib
import random
import resource
import sys

import atheris

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from targets import TARGETS, check, temporary_path

# What reads foreign bytes, and is in Python.
_INSTRUMENTED = ["gluon_resnet", "pickletools", "tarfile", "zipfile", "multipart", "json", "email"]
_MORE = 2**29  # bytes of address space that an input may ask for, used or not


def main() -> None:
    make = TARGETS[sys.argv.pop(1)]
    with atheris.instrument_imports(include=_INSTRUMENTED, enable_loader_override=False):
        target = make()
    path = temporary_path()

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if target.mutate is not None and draw.random() < 0.5:
            with contextlib.suppress(ValueError, RecursionError):
                return target.mutate(data, draw)[:most]
        return bytes(atheris.Mutate(data, most))

    atheris.Setup(sys.argv, lambda data: check(target, path, data), custom_mutator=mutate)
    with open("/proc/self/statm") as numbers:
        now = int(numbers.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + _MORE, resource.RLIM_INFINITY))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
