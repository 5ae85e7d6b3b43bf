#!/usr/bin/env bash
# Runs the stress program of tests/native under ASan with UBSan, and then under TSan; any finding fails.
#
#   scripts/sanitize.sh SECONDS     of each run; the two builds take half a minute each the first time
set -euo pipefail

seconds=$1
cd "$(dirname "$0")/.."
mkdir -p build

# TSan cannot start where addresses are drawn from more bits than it knows (Linux 6.6, Ubuntu 24.04).
fixed_addresses=()
if setarch -R true 2>/dev/null; then fixed_addresses=(setarch -R); fi

for sanitizers in address,undefined thread; do
    folder=build/stress-${sanitizers%%,*}
    echo "Building $folder"
    { cmake -S tests/native -B "$folder" -DSANITIZE="$sanitizers" && cmake --build "$folder" --parallel; } \
        >"$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 1; }
    echo "Running under -fsanitize=$sanitizers"
    UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1 \
        timeout --verbose $((3 * seconds + 120)) "${fixed_addresses[@]}" "$folder/stress" --seconds "$seconds"
done
