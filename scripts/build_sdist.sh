#!/usr/bin/env bash
# Builds dist/*.tar.gz: the sources of a release, installed from and checked before they appear.
#
#   scripts/build_sdist.sh PYTHON     any Python from 3.9 on; what builds it is installed in a folder of its own
set -euo pipefail

python=$(command -v "$1") || { echo "error: $1 is not found" >&2; exit 1; }
python=$(realpath -s "$python")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }

"$python" -m venv "$work/tools"
quietly "$work/tools/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt build
quietly "$work/tools/bin/python" -m build --sdist --outdir "$work/built"
scripts/check_install.sh "$python" "$work"/built/*.tar.gz
mkdir -p dist
cp "$work"/built/*.tar.gz dist/
ls -l "dist/$(basename "$work"/built/*.tar.gz)"
