#!/usr/bin/env bash
# Fuzzes what reads files of others: record files, and images. A finding fails, and its input is kept.
#
#   scripts/fuzz.sh PYTHON SECONDS     of each target; PYTHON has OpenCV and Pillow, which make the first inputs;
#                                      CLANG names a compiler other than clang++
#
# The inputs found so far stay in build/fuzz/corpus, and the next run goes on with them. Inputs that once
# failed stand in tests/native/regressions and run first.
set -euo pipefail
shopt -s nullglob

python=$1
seconds=$2
cd "$(dirname "$0")/.."
build=build/fuzz
tests=tests/native

mkdir -p "$build"
{ cmake -S "$tests" -B "$build" -DFUZZ=ON -DCMAKE_CXX_COMPILER="${CLANG:-clang++}" \
    && cmake --build "$build" --parallel; } >"$build/build.log" 2>&1 || { cat "$build/build.log" >&2; exit 1; }
"$python" "$tests/fuzz_seeds.py" "$build/seeds"

# A file of a few KiB has no use for 128 MiB at once. A small quarantine halves ASan's time.
limits=(-timeout=10 -malloc_limit_mb=128 -rss_limit_mb=2048)
export ASAN_OPTIONS=malloc_context_size=8:quarantine_size_mb=8 UBSAN_OPTIONS=print_stacktrace=1

for target in record image; do
    log=$build/$target.log
    findings=$build/findings/$target
    mkdir -p "$build/corpus/$target" "$findings"
    fail() {
        grep -av '^#' "$log" | tail -n 60 >&2
        echo "error: $1; see $log" >&2
        exit 1
    }
    known=("$tests/regressions/$target"/*)
    [ ${#known[@]} = 0 ] || "$build/fuzz_$target" "${limits[@]}" "${known[@]}" >"$log" 2>&1 \
        || fail "an input of $tests/regressions/$target fails again"
    [ "$target" = image ] && longest=2048 || longest=600
    echo "Fuzzing $target for $seconds s"
    "$build/fuzz_$target" "${limits[@]}" -max_total_time="$seconds" -max_len=$longest -dict="$tests/$target.dict" \
        -artifact_prefix="$findings/" "$build/corpus/$target" "$build/seeds/$target" >"$log" 2>&1 \
        || fail "fuzz_$target fails with $(ls -t "$findings"/* | head -n 1); once that is mended, keep it in $tests/regressions/$target"
    grep -a DONE "$log"
done
