#!/usr/bin/env bash
# Runs the tests where both languages count their lines, and prints which share of each room's lines was reached.
#
#   scripts/coverage.sh PYTHON [ARGUMENT ...]     of pytest (default: -n auto --maxprocesses 4 -m "not slow")
#
# All of it stands in build/coverage, which each run makes anew: a copy of the tree, in which the extension and
# build/predict are built with --coverage; an environment with the packages of PYTHON, whose gluon_resnet is that copy;
# and the reports: rooms.txt, python/index.html and cpp/index.html, missing.txt. Tests that fail are told, and counted
# all the same.
set -euo pipefail

python=$1
shift
[ $# -gt 0 ] || set -- -n auto --maxprocesses 4 -m "not slow"
cd "$(dirname "$0")/.."
[[ $python != */* ]] || python=$(realpath --no-symlinks "$python") # beside its environment's packages
rm -rf build/coverage
mkdir -p build/coverage/tree
git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from - | tar -x -C build/coverage/tree
reports=$PWD/build/coverage

# The copy comes first in its path, and nothing is written into the environment that is borrowed from.
packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
"$python" -m venv --without-pip "$reports/venv"
printf '%s\nimport site; site.addsitedir("%s")\n' "$reports/tree" "$(packages "$python")" \
    >"$(packages "$reports/venv/bin/python")/coverage.pth"
python=$reports/venv/bin/python

# Last on each command line, so that no level of optimization after it merges lines. Threads count atomically.
# The program ends with _Exit, which would lose what it has counted.
printf '#!/bin/sh\nexec g++ "$@" --coverage -fprofile-update=atomic -Og -include %s/counted_exit.h\n' "$reports" >"$reports/g++"
cat >"$reports/counted_exit.h" <<'EOF'
#include <cstdlib>
extern "C" void __gcov_dump();
namespace std {
[[noreturn]] inline void counted_exit(int status) { __gcov_dump(), _Exit(status); }
}
#define _Exit counted_exit
EOF
chmod +x "$reports/g++"

cd build/coverage/tree
git init --quiet # some tests ask git which files there are
export CXX=$reports/g++ # for what tests build, too, of objects that count
{
    "$python" setup.py --quiet build_ext --inplace
    cmake -S csrc -B build/predict -DCMAKE_BUILD_TYPE=Release -DMXNET_ROOT="$("$python" -c \
        'import importlib.util as u; print(u.find_spec("mxnet").submodule_search_locations[0])')"
    cmake --build build/predict --parallel
} >"$reports/build.log" 2>&1 || { cat "$reports/build.log" >&2; exit 1; }

# Python 3.12 tells of lines itself, for a few per cent of the time; a tracer would double that of some tests.
if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then export COVERAGE_CORE=sysmon; fi
mkdir "$reports/data"
export COVERAGE_FILE=$reports/data/python OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
status=0
"$python" -m coverage run -m pytest "$@" || status=$?
[ $status -le 1 ] || exit $status # no test has run, or not all

cd "$reports/tree"
"$python" -m coverage combine --quiet
"$python" -m coverage json --quiet -o "$reports/python.json"
"$python" -m coverage html --quiet -d "$reports/python" --title "gluon_resnet"
mkdir "$reports/cpp"
"$python" -m gcovr --root . --filter 'csrc/' --merge-mode-functions separate --exclude-branches-by-pattern '.*' \
    --json "$reports/cpp.json" --html-nested "$reports/cpp/index.html" --html-title "csrc" build
"$python" scripts/coverage_rooms.py "$reports/python.json" "$reports/cpp.json" "$reports/missing.txt" \
    | tee "$reports/rooms.txt"
exit $status
