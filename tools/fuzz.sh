#!/bin/bash
# fuzz.sh [TARGET...]: runs each fuzz target (default: all) for FUZZ_SECONDS (default 30), starting from its
# kept corpus tests/fuzz/corpus/TARGET. New inputs go to build/fuzz/corpus; a failing one is named by libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -e build/fuzz/build.ninja ] || cmake --preset fuzz
cmake --build --preset fuzz --target fuzzers -j "$(nproc)"

targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for file in tests/fuzz/fuzz_*.c; do
        name=${file##*/fuzz_}
        targets+=("${name%.c}")
    done
fi
for name in "${targets[@]}"; do
    new=build/fuzz/corpus/$name
    mkdir -p "$new"
    echo "fuzz: $name"
    "build/fuzz/tests/fuzz_$name" -max_total_time="${FUZZ_SECONDS:-30}" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="build/fuzz/$name-" "$new" "tests/fuzz/corpus/$name"
done
echo "fuzz: ${#targets[@]} targets, no failures"
