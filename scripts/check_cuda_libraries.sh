#!/usr/bin/env bash
# Shows that gluon-resnet[cu112] needs nothing of the system but NVIDIA's driver, on a machine without GPU and driver.
#
#   scripts/check_cuda_libraries.sh PYTHON     installs 3.7 GB in TMPDIR, or /tmp, and removes them
#
# A stub stands in for the driver: it has the functions that MXNet is linked with, and says that there is no GPU.
set -euo pipefail

python=$1
work=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$work"' EXIT
cd "$(dirname "$0")/.."

free=$(df --output=avail -B1G "$work" | tail -n 1)
[ "$free" -ge 10 ] || { echo "error: $work has $free GB left: 10 are needed for a while" >&2; exit 1; }

echo "Installing gluon-resnet[cu112] into $work: some minutes"
"$python" -m venv "$work/venv"
rm -rf build/lib*  # setuptools would pack whatever an earlier build left there
# Without pip's cache, which would keep as much again; pip unpacks in TMPDIR.
TMPDIR=$work "$work/venv/bin/python" -m pip install -qq --no-cache-dir --disable-pip-version-check ".[cu112]"
du -sh "$work/venv"

mkdir "$work/driver"
cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$work/driver/libcuda.so.1" -x c - <<'STUB'
#define NO_DEVICE(name) int name(void) { return 100; }
NO_DEVICE(cuInit)
NO_DEVICE(cuDeviceGet)
NO_DEVICE(cuDevicePrimaryCtxRetain)
NO_DEVICE(cuGetErrorString)
NO_DEVICE(cuGraphKernelNodeGetParams)
NO_DEVICE(cuGraphNodeGetType)
NO_DEVICE(cuLaunchKernel)
NO_DEVICE(cuModuleGetFunction)
NO_DEVICE(cuModuleLoadData)
NO_DEVICE(cuModuleLoadDataEx)
NO_DEVICE(cuModuleUnload)
int cuDriverGetVersion(int *version) { *version = 11020; return 0; }
STUB

cp scripts/check_cuda_libraries.py "$work/check.py"
cd "$work"  # away from a checkout, whose package would be imported instead
run=(env -u PYTHONPATH -u LD_LIBRARY_PATH "$work/venv/bin/python")
if message=$("${run[@]}" -c 'import gluon_resnet._mxnet' 2>&1); then
    echo "note: this machine has a driver; its sentence where there is none was not seen"
elif ! grep -q "MXNetUnavailable: mxnet-cu112 cannot be imported without NVIDIA's driver" <<<"$message"; then
    echo "error: without a driver the import says: $message" >&2
    exit 1
fi
run=(env -u PYTHONPATH LD_LIBRARY_PATH="$work/driver" "$work/venv/bin/python")
"${run[@]}" check.py
"${run[@]}" -m gluon_resnet doctor
