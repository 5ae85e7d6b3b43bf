#!/usr/bin/env bash
# Runs the C++ program `predict` under ASan with UBSan, and then under valgrind, over a tiny network; any finding fails.
#
#   scripts/check_predict.sh PYTHON [PREDICTIONS]     the interpreter that has MXNet; 10000, of each run: ten minutes
#
# Of libmxnet.so nothing can be seen from here: tests/native/predict.lsan and predict.valgrind say what of it is left out.
set -euo pipefail

python=$(realpath -s "$1")
predictions=${2:-10000}
cd "$(dirname "$0")/.."
mkdir -p build
mxnet=$("$python" -c 'import importlib.util as u; print(u.find_spec("mxnet").submodule_search_locations[0])')
command -v valgrind >/dev/null || { echo "error: valgrind is not there: apt-get install valgrind" >&2; exit 1; }

build() {  # FOLDER OPTION...
    echo "Building $1"
    { cmake -S csrc -B "$1" -DMXNET_ROOT="$mxnet" "${@:2}" && cmake --build "$1" --parallel --target predict; } \
        >"$1.log" 2>&1 || { cat "$1.log" >&2; exit 1; }
}

soak() {  # FOLDER COMMAND...
    PYTHONPATH=. OMP_NUM_THREADS=1 timeout --verbose $((predictions + 600)) \
        "$python" tests/native/soak_predict.py "$1/soak" "$predictions" "${@:2}"
}

build build/predict-address -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DSANITIZE=address,undefined
echo "Running under -fsanitize=address,undefined"
# A smaller quarantine of freed memory, so that the resident memory tells something. 1 is what predict exits with itself.
ASAN_OPTIONS=exitcode=9:quarantine_size_mb=8 UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=suppressions=tests/native/predict.lsan:print_suppressions=0 \
    soak build/predict-address build/predict-address/predict

build build/predict-valgrind -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g"
echo "Running under valgrind"
# valgrind 3.19 knows no AVX-512, and says so to who asks; oneDNN asks the processor in another way.
DNNL_MAX_CPU_ISA=AVX2 soak build/predict-valgrind \
    valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,possible \
    --show-leak-kinds=definite,possible --suppressions=tests/native/predict.valgrind \
    build/predict-valgrind/predict
