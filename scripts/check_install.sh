#!/usr/bin/env bash
# Installs a wheel into an empty environment, decodes a picture, and refuses libraries taken from the system.
#
#   scripts/check_wheel.sh PYTHON WHEEL     PYTHON: one that the wheel was built for
set -euo pipefail

python=$1
wheel=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check "$wheel"
cd "$work"  # away from a checkout, whose package would be imported instead
"$work/venv/bin/python" - <<'EOF'
import re
import sys

import gluon_resnet.data

# A gray JPEG of 8 by 8 pixels.
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300ffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc0000b080008"
    "000801011100ffc40014000100000000000000000000000000000000ffc4001410010000000000000000000000000000"
    "0000ffda0008010100003f003fffd9"
)
image = gluon_resnet.data.decode(JPEG)
assert image.shape == (8, 8, 3), image.shape

with open("/proc/self/maps") as maps:
    libraries = {line.split()[-1] for line in maps if ".so" in line}
ours = [path for path in libraries if re.search("lib(jpeg|png|opencv|tbb|lapack|blas|GL|X11)", path)]
foreign = [path for path in ours if not path.startswith(sys.prefix)]
assert ours, "the wheel carries no libraries"
assert not foreign, f"taken from the system: {foreign}"
EOF
echo "$(basename "$wheel"): decodes, with its own libraries"
