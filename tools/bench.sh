#!/bin/sh
# bench.sh [BUILD]: measures Strata on this machine and writes docs/performance/cpu.md. BUILD (build/release)
# is built already.
#   STRATA_PEERS_VENV   environment with PyTorch and JAX, see tests/peers/setup.sh; default build/peers
#   BENCH_TUNE          how long to tune each model before it is measured; default 60s, 0 for not at all
#   BENCH_ROUNDS        turns that every program gets; default 12
#   BENCH_TRIALS        trials of the tuner for contractions that may be slower than oneDNN's; default 24, 0 for none
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
peers=${STRATA_PEERS_VENV:-build/peers}
tune=${BENCH_TUNE:-60s}
trials=${BENCH_TRIALS:-24}
page=$build/cpu.md
export PYTHONDONTWRITEBYTECODE=1

# Debian's interpreter, as the one that is surely there with its packages.
python=/usr/bin/python3
[ -x "$python" ] || python=python3

# section TITLE COMMAND...: its output is the section's text; a failure is told there, and the rest goes on.
section() {
    printf '\n## %s\n' "$1"
    echo "bench: $1" >&2
    shift
    "$@" || printf '\nNot measured: %s failed.\n' "$(basename "$1")"
}

machine() {
    name=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    vector=$(grep -o -w -e avx512f -e avx512_bf16 -e avx2 -e amx_bf16 /proc/cpuinfo | sort -u | tr '\n' ' ')
    memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
    cat <<END

| | |
|---|---|
| date | $(date -u +%Y-%m-%d) |
| commit | $(git describe --always --dirty 2>/dev/null || echo unknown) |
| processor | $name, $(nproc) cores, ${vector% } |
| memory | $memory |
| system | $(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release), Linux $(uname -r) |
| load before | $(cut -d' ' -f1-3 /proc/loadavg) |
END
}

steps() {
    set -- --build "$build" --db "$build/bench.db" --rounds "${BENCH_ROUNDS:-12}" --json "$build/bench_steps.json"
    [ "$tune" = 0 ] || set -- "$@" --tune "$tune"
    [ ! -x "$peers/bin/python" ] || set -- "$@" --peers "$peers"
    "$python" tests/bench/bench_steps.py "$@"
}

depth() {
    set -- --build "$build"
    [ ! -x "$peers/bin/python" ] || set -- "$@" --peers "$peers"
    "$python" tests/bench/bench_depth.py "$@"
}

attention() {
    set -- --build "$build" --db "$build/bench.db"
    [ ! -x "$peers/bin/python" ] || set -- "$@" --peers "$peers"
    "$python" tests/bench/bench_attention.py "$@"
}

# Every shape goes to a page of its own; here stand the peaks and the spread of the ratios.
contractions() {
    {
        printf '# Contractions beside oneDNN, shape by shape\n\nWritten by `make bench`; cpu.md says on which machine.\n\n'
        if [ "$trials" = 0 ]; then "$build/tests/bench_gemm"; else "$build/tests/bench_gemm" --tune "$trials"; fi
    } >"$build/cpu_contractions.md"
    mv "$build/cpu_contractions.md" docs/performance/cpu_contractions.md
    printf '\nAll shapes: [cpu_contractions.md](cpu_contractions.md).\n\n'
    grep -v '^|' docs/performance/cpu_contractions.md | sed -n '4,$p'
}

mkdir -p docs/performance
{
    cat <<'END'
# Speed on the CPU

Written by `make bench`; times are medians. Programs that are compared run in turns, so that what else the machine does
meets all of them. The intervals hold the true median with at least 95 % confidence.
END
    machine
    section 'Training steps and kernels beside other systems' steps
    section 'What attention over depth adds to a model' depth
    section 'Attention alone, short to long' attention
    section 'Contractions beside oneDNN' contractions
    section 'Row kernels and the speed of memory' "$build/tests/bench_rows" --threads 2
    section 'Compiling for GPUs' "$build/tests/bench_nvrtc"
    section 'Starting' "$python" tests/bench/bench_start.py --build "$build"
    cat <<'END'

## How the peers are run

tests/peers has their code; tests/peers/check.py compares their losses and gradients with tests/models/reference.py. All
of them compute on the same cores as Strata, their parameters are resident, and times count after four steps of
warm-up. PyTorch uses its fused AdamW, `scaled_dot_product_attention` and `rms_norm`; JAX compiles the whole step and gives
its buffers back (donation). glibc is told to keep freed memory (`MALLOC_*` in tests/peers/worker.py): without that PyTorch
faults its temporaries in again at every step and is slower.
END
} >"$page"
mv "$page" docs/performance/cpu.md
echo "bench: wrote docs/performance/cpu.md" >&2
