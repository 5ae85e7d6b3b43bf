#!/usr/bin/env bash
# Puts the shared libraries that a wheel needs into it; run by build_wheel.sh and by cibuildwheel.
#
#   scripts/repair_wheel.sh WHEEL FOLDER     auditwheel and patchelf are on the PATH; FOLDER gets the whole wheel
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Debian's OpenCV links libGLX, and that libX11, for one thing: to find the OpenGL context it shares with
# OpenCL. auditwheel takes for granted that each machine has X11, but servers and containers have not, and
# there the import would fail. So the wheel carries a libGLX that says that there is no context.
cc -shared -fPIC -s -Wl,-soname,libGLX.so.0 -o "$work/libGLX.so.0" -x c - <<'EOF'
void *glXGetCurrentContext(void) { return 0; }
void *glXGetCurrentDisplay(void) { return 0; }
void *glXGetProcAddressARB(const unsigned char *name) { (void)name; return 0; }
EOF

LD_LIBRARY_PATH=$work${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} auditwheel repair --strip --wheel-dir "$2" "$1"
