#!/usr/bin/env bash
# Run every libFuzzer target of the fuzz preset for some seconds: tools/run_fuzz.sh [SECONDS]
#
# Committed inputs are in tests/fuzz/corpus/<name>/; what a run adds goes to build/fuzz-corpus/<name>/, and an input that
# breaks something to tests/fuzz/findings/.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
found=0
mkdir -p tests/fuzz/findings
for target in build/fuzz/tests/fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    found=1
    name=$(basename "$target")
    name=${name#fuzz_}
    corpora=("build/fuzz-corpus/$name")
    mkdir -p "${corpora[0]}"
    [ -d "tests/fuzz/corpus/$name" ] && corpora+=("tests/fuzz/corpus/$name")
    echo "fuzzing $name for $seconds s"
    if ! "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="tests/fuzz/findings/$name-" "${corpora[@]}" >"build/fuzz-corpus/$name.log" 2>&1; then
        tail -n 60 "build/fuzz-corpus/$name.log"
        echo "fuzz_$name failed; the input is in tests/fuzz/findings/" >&2
        exit 1
    fi
    grep -E 'number_of_executed_units|peak_rss_mb' "build/fuzz-corpus/$name.log" | sed 's/^/  /'
done
if [ $found -eq 0 ]; then
    echo "no fuzz target was built (tests/fuzz/fuzz_*.c)" >&2
    exit 1
fi
