# scripts.sh BUILD ROOT: what can be tried of tools/test_gpu.sh and tools/bench_gpu.sh without a GPU: Python's syntax, the
# comparison of curves, and both scripts with the CPU in the GPU's place.
set -eu
build=$1
cd "$2"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

for file in tests/gpu/*.py tests/bench/*.py tests/peers/*.py; do
    python3 -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' "$file" || fail "$file"
done
python3 -B tests/bench/bench_gpu.py --build . --out "$work" --list >"$work/list"
grep -q '^attn_res_both_d7168_n32: .*alone' "$work/list" || fail "the list of cases"

printf '{"loss": %s}\n' 3 2 1 >"$work/a"
printf '{"loss": %s}\n' 3 2.001 1.0 >"$work/b"
printf '{"loss": %s}\n' 3 NaN 1 >"$work/c"
python3 tests/gpu/curves.py "$work/a" "$work/b" 1e-3 || fail "curves that are close"
if python3 tests/gpu/curves.py "$work/a" "$work/b" 1e-4; then fail "curves that are apart"; fi
if python3 tests/gpu/curves.py "$work/a" "$work/c" 1e-1 2>&1; then fail "a loss that is no number"; fi
if python3 tests/gpu/curves.py "$work/a" /dev/null 1 2>&1; then fail "a curve without steps"; fi

"$build/strata" compile tests/bench/rows_bf16.strata --set T=8 --set d=32 -o "$work/x.sta" --db "$work/db" >"$work/log" 2>&1 || {
    grep -q LLVM "$work/log" || fail "compile: $(cat "$work/log")"
    echo "skipped: no code generator"
    exit 77
}
# A text that no change of ours changes, and steps enough for the loss to fall.
GPU_TARGET=cpu GPU_PARTS='training resume generate' GPU_TEXT=LICENSE GPU_STEPS=20 GPU_OUT=$work/logs \
    GPU_SET='--set d=16 --set h=2 --set dk=8 --set ff=32 --set layers=1 --set block=1 --batch 2 --context 16' \
    tools/test_gpu.sh "$build" || fail "test_gpu.sh"
GPU_ANYWAY=1 GPU_OUT=$work/bench tools/bench_gpu.sh "$build" --small --target cpu --rounds 2 --steps 1 \
    --only product_64,adamw >"$work/page" || fail "bench_gpu.sh"
grep -q '^| 64³ | Strata | [0-9]' "$work/page" || fail "nothing was measured: $(cat "$work/page")"
python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["samples"]["adamw"]["strata"]' "$work/bench/gpu.json" ||
    fail "gpu.json"
