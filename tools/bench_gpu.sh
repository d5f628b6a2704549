#!/bin/bash
# bench_gpu.sh [BUILD] [OPTION...]: measures Strata on the first GPU here, beside PyTorch and cuBLAS. BUILD
# (build/release) has the programs; in an archive it is the archive itself. Options are those of
# tests/bench/bench_gpu.py. Writes gpu.md and gpu.json to $GPU_OUT (default BUILD/gpu_bench); about eight minutes.
# Exit status 3: there is no GPU.
#   GPU_ANYWAY          not empty: tried out without a GPU, with --small --target cpu
#   STRATA_PEERS_VENV   environment with PyTorch; default: python3
set -u
cd "$(dirname "$0")/.."
build=$(cd "${1:-build/release}" && pwd) || exit 2
shift $(($# > 0))
export STRATA_PATH=$PWD/models PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
. tools/gpu_env.sh
said=$("$build/tests/gpu_models" none 2>&1)
if [ $? != 0 ] && [ -z "${GPU_ANYWAY:-}" ]; then
    echo "bench-gpu: ${said#skipped: }" >&2
    exit 3
fi
out=${GPU_OUT:-$build/gpu_bench}
mkdir -p "$out"
python=${STRATA_PEERS_VENV:+$STRATA_PEERS_VENV/bin/python}
card=$(gpu_query name)
driver=$(gpu_query driver_version)
commit=$(cat COMMIT 2>/dev/null || git describe --always --dirty 2>/dev/null || echo unknown)
date=$(date -u +%Y-%m-%d)
{
    cat <<END
# Speed on $card

Written by \`tools/bench_gpu.sh\`; times are medians, and the intervals hold the true median with at least 95 % confidence.
Programs that are compared run in turns. Kernels are timed by events on the GPU, training steps by the host's clock. Data is
random. "Of the copy's" is the share of a large copy's bandwidth, counting what a kernel must move at least.

| | |
|---|---|
| date | $date |
| commit | $commit |
| card | $card, $(gpu_query memory.total) |
| driver | $driver |
| clocks | SM $(gpu_query clocks.sm), at most $(gpu_query clocks.max.sm) |
| command | \`bench_gpu.sh $*\` |
END
    python3 tests/bench/bench_gpu.py --build "$build" --out "$out" ${python:+--python "$python"} "$@"
} >"$out/gpu.md"
status=$?
python3 - "$out" "$date" "$card" "$driver" "$commit" "bench_gpu.sh $*" <<'END' || status=1
import json, sys
out, *rest = sys.argv[1:]
try:
    with open(f"{out}/samples.json") as file:
        samples = json.load(file)
except FileNotFoundError:
    sys.exit("bench-gpu: there are no samples")
with open(f"{out}/gpu.json", "w") as file:
    json.dump(dict(zip(("date", "card", "driver", "commit", "command"), rest)) | samples, file)
END
cat "$out/gpu.md"
echo "bench-gpu: wrote $out/gpu.md and $out/gpu.json" >&2
exit $status
