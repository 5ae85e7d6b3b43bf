"""Where each library that MXNet's CUDA build needs comes from; run by check_cuda_libraries.sh in its environment.

Exit status 1, with the reason, when one but the driver's comes from outside the environment, or MXNet does not work.
"""

from __future__ import annotations

import ctypes
import glob
import os
import re
import subprocess
import sys

# What every Linux with glibc, a C++ runtime and OpenMP has, and the driver.
SYSTEM = r"(lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|gomp|z|quadmath)|ld-linux-x86-64)\.so\.\d+"
DRIVER = "libcuda.so.1"


def needed(path: str) -> list[str]:
    """The names of the libraries that the file is linked with."""
    dynamic = subprocess.run(["readelf", "-d", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)


def mapped() -> dict[str, str]:
    """The libraries in this process: the path by the name."""
    with open("/proc/self/maps", encoding="utf-8") as stream:
        paths = {line.split()[-1] for line in stream if ".so" in line}
    return {os.path.basename(path): path for path in paths}


def main() -> None:
    from gluon_resnet._mxnet import mx
    from gluon_resnet.environment.cuda_libraries import CUDA_LIBRARIES

    features = mx.runtime.Features()
    for feature in ("CUDA", "CUDNN", "NCCL"):
        if not features.is_enabled(feature):
            sys.exit(f"error: this MXNet has no {feature}")
    ones = mx.nd.ones((2, 2))
    if mx.nd.dot(ones, ones).asnumpy().tolist() != [[2, 2], [2, 2]]:
        sys.exit("error: MXNet computes wrongly on the CPU")
    print(f"MXNet {mx.__version__} has CUDA, CUDNN, NCCL, and computes on the CPU")

    nvidia = os.path.join(os.path.dirname(os.path.dirname(mx.__file__)), "nvidia")
    # What cuDNN and NVRTC open when the first kernel asks for it; the first opening of each fails here, not there.
    later = glob.glob(f"{nvidia}/cudnn/lib/*.so.*") + glob.glob(f"{nvidia}/cuda_nvrtc/lib/*.so.*")
    for path in later:
        ctypes.CDLL(path)
    loaded = mapped()
    ours = {name: path for name, path in loaded.items() if path.startswith(nvidia)}
    missing = {library.name for library in CUDA_LIBRARIES} - set(ours)
    if missing:
        sys.exit(f"error: not from the environment: {', '.join(sorted(missing))}")

    to_look_at = [mx.libinfo.find_lib_path()[0], *ours.values()]
    seen: set[str] = set()
    while to_look_at:
        path = to_look_at.pop()
        for name in needed(path):
            if name in seen:
                continue
            seen.add(name)
            if name == DRIVER:
                print(f"{name:<28}the driver's")
            elif re.fullmatch(SYSTEM, name):
                print(f"{name:<28}every system's")
            elif loaded.get(name, "").startswith(sys.prefix):
                print(f"{name:<28}{os.path.relpath(loaded[name], sys.prefix)}")
                to_look_at.append(loaded[name])
            else:
                found = loaded.get(name, "nowhere")
                sys.exit(f"error: {name}, which {os.path.basename(path)} needs, comes from {found}")
    print(f"{len(later)} parts of cuDNN and NVRTC load, too; only {DRIVER} has to come from the system")


main()
