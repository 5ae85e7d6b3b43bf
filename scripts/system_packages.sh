#!/usr/bin/env bash
# Finds out which system packages the build still needs, and installs them where that takes no password.
#
#   scripts/system_packages.sh PYTHON [fuzz|wheel]
#
#   PYTHON: the interpreter that the build will use: python3, python3.12, a path;  fuzz: libFuzzer is needed, too;
#   wheel: MXNet is not needed, so that PYTHON may be newer than 3.12
#
# Things are looked for, not packages, so that a compiler or a Python from elsewhere is as good as Debian's.
# The libraries that MXNet's wheel takes from the system (libgomp1, libquadmath0) come with g++.
set -euo pipefail

python=$1

fail() {
    echo "error: $*" >&2
    exit 1
}

missing=()

needed="Python 3.9 to 3.12 is needed, for MXNet" newest=12
[ "${2-}" != wheel ] || needed="Python 3.9 or newer is needed" newest=99
if command -v "$python" >/dev/null; then
    "$python" -c "import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, $newest))" || fail \
        "$needed, and $python is $("$python" -V 2>&1): name another one (PYTHON=python3.12 make ...)"
    debian_python=$(basename "$python")
    [[ $debian_python == python3* ]] || debian_python=python3
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("$debian_python-venv")
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -e "$include/Python.h" ] || missing+=("$debian_python-dev")
elif [ "$python" = python3 ]; then
    missing+=(python3 python3-venv python3-dev)
else
    fail "$python is not found: name a Python from 3.9 to 3.12 (PYTHON=python3.12 make setup)"
fi

for program in g++ cmake; do
    command -v "$program" >/dev/null || missing+=("$program")
done

# One run of the preprocessor tells for all headers; the same table, for builds without make, is in setup.py.
packages=(
    "jpeglib.h libjpeg-dev"
    "png.h libpng-dev"
    "opencv2/core.hpp libopencv-core-dev"
    "opencv2/imgproc.hpp libopencv-imgproc-dev"
    "nlohmann/json.hpp nlohmann-json3-dev"
)
probe=$(for line in "${packages[@]}"; do
    read -r header package <<<"$line"
    printf '#if !__has_include(<%s>)\nmissing %s\n#endif\n' "$header" "$package"
done)
if command -v g++ >/dev/null; then
    folders=(-I/usr/include/opencv4 -I/usr/local/include/opencv4)
    mapfile -t -O "${#missing[@]}" missing < <(
        g++ -E -P -x c++ "${folders[@]}" - <<<"$probe" | sed -n 's/^missing //p')
else
    for line in "${packages[@]}"; do missing+=("${line#* }"); done
fi

if [ "${2-}" = fuzz ]; then
    echo 'extern "C" int LLVMFuzzerTestOneInput(const char *, unsigned long) { return 0; }' \
        | "${CLANG:-clang++}" -fsanitize=fuzzer,address,undefined -x c++ -o /dev/null - 2>/dev/null \
        || missing+=(clang libclang-rt-dev)
fi

[ ${#missing[@]} -gt 0 ] || exit 0

install="apt-get install -y --no-install-recommends ${missing[*]}"
command -v apt-get >/dev/null || fail "this system has no apt-get: install what Debian calls ${missing[*]}, and try again"
if [ "$(id -u)" = 0 ]; then
    sudo=()
elif sudo -n true 2>/dev/null; then
    sudo=(sudo)
else
    fail "system packages are missing: run 'sudo $install', and try again"
fi
echo "Installing the system packages ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${sudo[@]}" apt-get update && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive $install; } >"$log" 2>&1; then
    cat "$log" >&2
    fail "apt-get could not install ${missing[*]}: see above"
fi
