#!/usr/bin/env bash
# Builds Horovod for the MXNet of an environment and installs it there: a second engine for several machines.
#
#   scripts/install_horovod.sh PYTHON     a Python with gluon-resnet[cpu], or [cu112]
#
# It needs a C++ compiler, CMake 3.13 and make, and takes two to five minutes on two cores; after half an hour it gives
# up. It installs Horovod and what horovodrun needs, and changes nothing else. Without MPI: horovodrun uses Gloo and ssh.
# Horovod's other options can be set in the environment, HOROVOD_GPU_OPERATIONS=NCCL for example. There is no extra for
# it: a wheel has to be compiled against the installed MXNet, which pip hides from a build in isolation.
set -euo pipefail

python=$1
for tool in c++ cmake make; do
    command -v "$tool" >/dev/null || { echo "error: $tool is missing: apt-get install g++ cmake make" >&2; exit 1; }
done
"$python" -c 'import gluon_resnet._mxnet' || { echo "error: $python has no gluon-resnet[cpu]" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What building needs, then what horovodrun needs; versions that are there for Python 3.9 to 3.12.
"$python" -m pip install --quiet setuptools==80.9.0 wheel==0.45.1 "packaging>=24" "cffi>=1.17,<2" \
    "PyYAML>=6.0.2,<7" "psutil>=5.9,<8" "cloudpickle>=3,<4"

# Its CMake asks MXNet where it is, and MXNet asks numpy for a name that went with 1.24: see gluon_resnet/_mxnet.py.
echo 'import numpy; numpy.bool = bool' >"$work/sitecustomize.py"
echo "Building Horovod 0.28.1: this takes some minutes"
PYTHONPATH=$work MAKEFLAGS=${MAKEFLAGS:--j$(nproc)} \
    HOROVOD_WITH_MXNET=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 \
    HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 \
    timeout 1800 "$python" -m pip install --no-build-isolation --no-cache-dir --no-deps --no-binary horovod \
    horovod==0.28.1 >"$work/log" 2>&1 || { tail -n 50 "$work/log" >&2; exit 1; }

# Two faults of horovodrun are mended in place. It imports MXNet as it is, to ask what was built. And it takes an option
# of the command that it starts, as --network, for the beginning of one of its own.
runner=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')/horovodrun
grep -q numpy.bool "$runner" || sed -i '/^from horovod.runner/i import numpy; numpy.bool = bool' "$runner"
sed -i "s/ArgumentParser(description='Horovod Runner')/ArgumentParser(description='Horovod Runner', allow_abbrev=False)/" \
    "$("$python" -c 'import importlib.util; print(importlib.util.find_spec("horovod").submodule_search_locations[0])')"/runner/launch.py
"$runner" --check-build >"$work/built" && grep -q '\[X\] Gloo' "$work/built" || { cat "$work/built" >&2; exit 1; }

"$python" - <<'EOF'
import gluon_resnet._mxnet
import horovod
import horovod.mxnet

assert horovod.mxnet.gloo_built()
print(f"Horovod {horovod.__version__} is installed: horovodrun -np 2 --gloo python tools/train.py --kv-store horovod ...")
EOF
