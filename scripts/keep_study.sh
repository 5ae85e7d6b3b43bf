#!/usr/bin/env bash
# keep_study.sh STUDY KEPT: a copy of the folder of a study (tools/reproduce.py), running or not, from which it can be
# gone on with: logs, the report in Markdown and tests, and of each network the last state and the last and the best parameters.
set -euo pipefail
if [ $# -ne 2 ] || [ ! -f "$1/study.json" ]; then
    echo "usage: keep_study.sh STUDY KEPT, where STUDY has a study.json" >&2
    exit 2
fi
study=$1 kept=$2
if [ -n "$(ls -A -I README.md "$kept" 2>/dev/null)" ] && [ ! -f "$kept/study.json" ]; then
    echo "keep_study.sh: $kept holds something else than an earlier copy: name another folder" >&2
    exit 2
fi
mkdir -p "$kept"
kept=$(cd "$kept" && pwd)
cd "$study"

# A state that a running study replaces meanwhile is gone before it is copied: then the next one is there.
for _ in 1 2 3 4 5; do
    wanted=()
    for link in *-resume.json *-last.params *-best.params; do
        [ -L "$link" ] || continue
        file=$(readlink "$link")
        wanted+=("$link" "$file")
        [[ $link != *-resume.json ]] || wanted+=("${file%.json}.params")
    done
    find "$kept" -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -r {} +
    if cp -a -- "${wanted[@]}" "$kept" 2>/dev/null; then
        # What is written beside them: everything but other states and parameters, what is not whole, and pages, which
        # are written anew from the rest.
        find . -mindepth 1 -maxdepth 1 ! -name '.*' ! -name '*.params' ! -name '*-resume*.json' ! -name '*.html' \
            -exec cp -a -t "$kept" {} +
        du -sh "$kept"
        exit 0
    fi
    sleep 2
done
echo "keep_study.sh: the states in $study change faster than they are copied" >&2
exit 1
