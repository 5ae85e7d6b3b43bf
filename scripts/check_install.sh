#!/usr/bin/env bash
# Installs a wheel or an sdist into an empty environment, packs pictures with it, and loads a batch of them.
#
#   scripts/check_install.sh PYTHON DISTRIBUTION     PYTHON: one that the wheel was built for; any for an sdist
#
# Of a wheel, libraries that are taken from the system are refused; an sdist is compiled against the system's.
set -euo pipefail

python=$1
distribution=$(realpath -s "$2")
scripts=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check "$distribution" >"$work/log" 2>&1 \
    || { cat "$work/log" >&2; exit 1; }
own=()
[[ $distribution != *.whl ]] || own=(--own-libraries)
# From elsewhere, so that no checkout is imported instead; its scripts/ alone comes before what is installed.
cd "$work"
loaded=$("$work/venv/bin/python" "$scripts/load_batch.py" "${own[@]}")
echo "$(basename "$distribution") loads $loaded"
