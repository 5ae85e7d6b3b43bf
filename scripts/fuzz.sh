#!/usr/bin/env bash
# Fuzzes what reads bytes of others, in C++ with libFuzzer and in Python with atheris. A finding fails, and its input
# is kept.
#
#   scripts/fuzz.sh PYTHON SECONDS [TARGET ...]     of each target (default: all); PYTHON has this package and what
#                                                   makes the first inputs; CLANG names a compiler other than clang++
#
# In C++ the targets are image, record, index, params, card and symbol; in Python, with py- before their names, those of
# tests/fuzz/targets.py. The inputs found so far stay in build/fuzz/corpus, and the next run goes on with them. Inputs
# that once failed stand in tests/fuzz/regressions and run first. build/fuzz/executions.txt has how often each target
# has run, over all runs.
set -euo pipefail
shopt -s nullglob

python=$1
seconds=$2
shift 2
cd "$(dirname "$0")/.."
build=build/fuzz
regressions=tests/fuzz/regressions
native=(image record index params card symbol)
mapfile -t in_python < <(sed -n 's/^    "\([a-z]*\)": _.*/py-\1/p' tests/fuzz/targets.py)
"$python" -c 'import atheris' 2>/dev/null || {
    echo "The targets in Python are left out: they need atheris, for Python 3.11 or later (pip install 'gluon-resnet[fuzz]')"
    in_python=()
}
[ $# -gt 0 ] || set -- "${native[@]}" "${in_python[@]}"
for target; do
    [[ " ${native[*]} ${in_python[*]} " == *" $target "* ]] || {
        echo "error: $target is no target: expected some of ${native[*]} ${in_python[*]}" >&2
        exit 2
    }
done

mkdir -p "$build"
touch "$build/executions.txt"
if [[ " $* " =~ \ (image|record|index|params|card|symbol)\  ]]; then
    { cmake -S tests/native -B "$build" -DFUZZ=ON -DCMAKE_CXX_COMPILER="${CLANG:-clang++}" \
        && cmake --build "$build" --parallel; } >"$build/build.log" 2>&1 || { cat "$build/build.log" >&2; exit 1; }
    [[ ! " $* " =~ \ (image|record)\  ]] || "$python" tests/native/fuzz_seeds.py "$build/seeds"
fi
"$python" tests/fuzz/seeds.py "$build/seeds"

export ASAN_OPTIONS=malloc_context_size=8:quarantine_size_mb=8 UBSAN_OPTIONS=print_stacktrace=1

# Adds the executions that $log tells of to those of $target, and shows both.
count() {
    local now before
    now=$(sed -n "s/^stat::number_of_executed_units: *//p" "$log" | tail -n 1)
    now=${now:-$(grep -a '^#[0-9]' "$log" | tail -n 1 | sed 's/^#\([0-9]*\).*/\1/')}
    before=$(awk -v target="$target" '$1 == target { print $2 }' "$build/executions.txt")
    awk -v target="$target" '$1 != target' "$build/executions.txt" >"$build/executions.new"
    echo "$target $((${now:-0} + ${before:-0}))" >>"$build/executions.new"
    sort -o "$build/executions.txt" "$build/executions.new"
    rm "$build/executions.new"
    echo "$target: ${now:-0} executions, $((${now:-0} + ${before:-0})) over all runs"
}

fail() {
    grep -av '^#' "$log" | tail -n 60 >&2
    echo "error: $1; see $log" >&2
    exit 1
}

for target; do
    name=${target#py-}
    log=$build/$target.log
    findings=$build/findings/$target
    corpus=$build/corpus/$name # what is found in one language is tried in the other
    mkdir -p "$corpus" "$findings" "$build/seeds/$name"
    longest=2048
    [ "$name" != record ] || longest=600
    [ "$name" != tar ] || longest=8192
    if [[ $target == py-* ]]; then
        program=("$python" tests/fuzz/fuzz.py "$name")
        # Time and memory of an input are looked at by the target itself. Of readers in C++ coverage is not known here,
        # so that each input that C++ was found with is worth changing.
        limits=(-timeout=60 -rss_limit_mb=4096 -keep_seed=1)
    else
        program=("$build/fuzz_$name")
        # A file of a few KiB has no use for 50 MiB at once; an image may have. A small quarantine halves ASan's time.
        [ "$name" = image ] && most=128 || most=50
        limits=(-timeout=10 -malloc_limit_mb=$most -rss_limit_mb=2048)
    fi
    words=tests/fuzz/dictionaries/${name/connection/request}.dict
    [ ! -e "$words" ] || limits+=("-dict=$words")
    known=("$regressions/$name"/*)
    [ ${#known[@]} = 0 ] || "${program[@]}" "${limits[@]}" "${known[@]}" >"$log" 2>&1 \
        || fail "an input of $regressions/$name fails again"
    # MXNet says of each graph that it was read.
    "${program[@]}" "${limits[@]}" -max_total_time="$seconds" -max_len=$longest -print_final_stats=1 \
        -artifact_prefix="$findings/" "$corpus" "$build/seeds/$name" \
        2>&1 | grep -av '^\[[0-9:]*\] \.\./src/' >"$log" && status=0 || status=$?
    count
    [ $status = 0 ] || fail \
        "$target fails with $(ls -t "$findings"/* | head -n 1); once that is mended, keep it in $regressions/$name"
done
