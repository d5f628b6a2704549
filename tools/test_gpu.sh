#!/bin/bash
# test_gpu.sh [BUILD]: every test that needs a GPU, for the first one here. BUILD (build/release) has the programs; in an
# archive (tools/dist.sh) it is the archive itself. Exit status 3: there is no GPU, or no NVRTC. Parts run side by side,
# each with a log in $GPU_OUT (default BUILD/gpu); a table of them comes last. Ten minutes on an H200 at the very most.
#   GPU_PARTS   which parts, separated by blanks; default: all
#   GPU_STEPS   training steps; default 50
#   GPU_SET     settings of the model that is trained
#   GPU_TARGET  default cuda; with cpu, the parts training, resume and generate try themselves out without a GPU
# test_gpu.sh --curve STRATA FILE: what training is compared with: FILE gets the losses of the CPU.
set -u
cd "$(dirname "$0")/.."
steps=${GPU_STEPS:-50}
model=models/attnres_block.strata
read -ra settings <<<"${GPU_SET:---set d=64 --set h=2 --set dk=32 --set ff=160 --set layers=2 --set block=2 \
    --batch 4 --context 64}"

# ---- parts

# A text that does not change while parts use it.
text() {
    if [ -n "${GPU_TEXT:-}" ]; then
        cp "$GPU_TEXT" "$1"
    elif [ -e tests/gpu/text ]; then
        cp tests/gpu/text "$1"
    else
        cat docs/*.md >"$1"
    fi
}

# train_cpu STRATA FOLDER
train_cpu() {
    "$1" train $model "${settings[@]}" --target cpu --dtype f32 --data "$work/text" --steps "$steps" --out "$2" -q
}

# compiled TYPE: the artifact for the GPU, made once.
compiled() {
    "$strata" compile $model "${settings[@]}" --mode train --target "${GPU_TARGET:-cuda}" --dtype "$1" -o "$work/$1.sta"
}

# train TYPE FOLDER [OPTION...]
train() {
    local type=$1 folder=$2
    shift 2
    "$strata" train "$work/$type.sta" --data "$work/text" --steps "$steps" --out "$folder" -q "$@"
}

# The programs of tests/gpu: 77 says that the card has no such instructions.
program() {
    "$build/tests/gpu_$1" "${@:2}"
}

# Storage in f32 leaves the order of sums, whose traces grow from step to step; bf16 rounds each value by up to 2^-9.
part_training() {
    declare -A tolerance=([f32]=2e-4 [bf16]=3e-3)
    local cpu=$work/cpu/metrics.jsonl
    if [ -e tests/gpu/cpu.jsonl ]; then
        cpu=tests/gpu/cpu.jsonl
    else
        train_cpu "$strata" "$work/cpu" || cpu=
    fi
    [ -n "$cpu" ] || echo "no curve of the CPU: losses are not compared"
    for type in f32 bf16; do
        compiled $type && train $type "$work/$type" && train $type "$work/$type-again" || return
        cmp "$work/$type/params.safetensors" "$work/$type-again/params.safetensors" || return
        [ -z "$cpu" ] || python3 tests/gpu/curves.py "$cpu" "$work/$type/metrics.jsonl" "${tolerance[$type]}" || return
    done
}

# Killed at a checkpoint, resumed, and the same parameters as a run that was left alone.
part_resume() {
    local type=bf16 many=$((steps * 8)) every=$steps
    compiled $type || return
    train $type "$work/whole" --steps $many --checkpoint-every "$every" || return
    # By itself, so that its number is the program's and not a shell's.
    "$strata" train "$work/$type.sta" --data "$work/text" --steps $many --checkpoint-every "$every" \
        --out "$work/killed" -q &
    local pid=$!
    until [ -e "$work/killed/latest" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -9 $pid 2>/dev/null
    wait $pid
    echo "killed after $(wc -l <"$work/killed/metrics.jsonl") of $many steps"
    "$strata" train "$work/$type.sta" --data "$work/text" --steps $many --checkpoint-every "$every" \
        --resume "$work/killed" -q || return
    cmp "$work/whole/params.safetensors" "$work/killed/params.safetensors"
}

part_generate() {
    compiled bf16 && train bf16 "$work/g" || return
    local params=$work/g/params.safetensors
    for n in 1 2; do
        "$strata" generate "$work/bf16.sta" --params "$params" --prompt 'The ' --tokens 40 --temperature 0 \
            >"$work/text$n" || return
        "$strata" eval "$work/bf16.sta" --params "$params" --data "$work/text" --json >"$work/eval$n" || return
    done
    cat "$work/text1"
    [ -s "$work/text1" ] && cmp "$work/text1" "$work/text2"
}

# sanitize TOOL: every access of a training step of the smallest model.
sanitize() {
    local tool
    tool=$(PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer command -v compute-sanitizer) || return 77
    "$strata" compile $model --set size=tiny --set d=32 --set ff=48 --batch 1 --context 16 --mode train --target cuda \
        -o "$work/tiny.sta" || return
    "$tool" --tool "$1" --error-exitcode 9 --print-limit 20 "$strata" train "$work/tiny.sta" --data "$work/text" \
        --steps 1 --out "$work/tiny" -q 2>&1 | tee "$work/sanitizer"
    local status=${PIPESTATUS[0]}
    ! grep -q 'Device not supported' "$work/sanitizer" || return 77
    return "$status"
}
part_memcheck() { sanitize memcheck; }
part_racecheck() { sanitize racecheck; }

part_devices() { "$strata" devices --json; }
for name in loop stream ws machine model_loop model_stream; do
    eval "part_$name() { program $name; }"
done
for name in prenorm attnres_full attnres_block; do
    eval "part_${name}_f32() { program models ${name}_f32; }"
    eval "part_${name}_bf16() { program models ${name}_bf16; }"
done
parts=${GPU_PARTS:-devices training resume generate prenorm_f32 prenorm_bf16 attnres_full_f32 attnres_full_bf16
    attnres_block_f32 attnres_block_bf16 machine loop stream ws model_loop model_stream memcheck racecheck}

# ---- running them

case ${1:-} in
--curve)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    text "$work/text"
    train_cpu "$2" "$work/cpu" >/dev/null && cp "$work/cpu/metrics.jsonl" "$3"
    exit
    ;;
--part)
    build=$2 strata=$2/strata work=$4
    text "$work/text"
    part_"$3"
    exit
    ;;
esac
build=$(cd "${1:-build/release}" && pwd) || exit 2
export STRATA_PATH=$PWD/models
. tools/gpu_env.sh
# The pattern fits no test.
if [ "${GPU_TARGET:-cuda}" = cuda ] && ! said=$("$build/tests/gpu_models" none 2>&1); then
    echo "test-gpu: ${said#skipped: }" >&2
    exit 3
fi
logs=${GPU_OUT:-$build/gpu}
mkdir -p "$logs"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# run PART: its status and its seconds go to a file. A part that hangs is ended, with whatever it started.
run() {
    local start=$SECONDS status=0
    mkdir "$root/$1"
    STRATA_DB=$root/$1/tune.db timeout -k 5 "${GPU_LIMIT:-420}" tools/test_gpu.sh --part "$build" "$1" "$root/$1" \
        >"$logs/$1.log" 2>&1 || status=$?
    echo "$status $((SECONDS - start))" >"$root/$1/status"
}

for part in $parts; do
    run "$part" &
done
wait
passed=0 failed=0 skipped=0
printf '\n%-20s %-12s %s\n' part result seconds
for part in $parts; do
    read -r status seconds <"$root/$part/status"
    case $status in
    0) result=ok passed=$((passed + 1)) ;;
    77) result=skipped skipped=$((skipped + 1)) ;;
    124 | 137) result="out of time" failed=$((failed + 1)) ;;
    *) result="failed: $status" failed=$((failed + 1)) ;;
    esac
    printf '%-20s %-12s %s\n' "$part" "$result" "$seconds"
done
for part in $parts; do
    read -r status seconds <"$root/$part/status"
    case $status in
    0 | 77) ;;
    *) printf '\n-- %s\n' "$part" && tail -n 15 "$logs/$part.log" ;;
    esac
done
echo "test-gpu: $passed passed, $failed failed, $skipped skipped; logs in $logs"
[ $failed = 0 ]
