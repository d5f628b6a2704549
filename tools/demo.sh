#!/bin/sh
# demo.sh [DIR]: a small language model with attention over depth, from tuning to a report: tunes, trains, generates,
# compares block sizes with each other and with a plain residual stream, and trains a mixture of experts. A few minutes
# on two cores.
# DIR (default build/demo) keeps everything; run again, it uses the tuning of the first time.
set -eu
cd "$(dirname "$0")/.."
strata=${STRATA:-build/release/strata}
out=${1:-build/demo}
here=models/attnres_block.strata
sizes='--set d=128 --set dk=32 --set ff=320 --set layers=4 --context 128'

tools/deps.sh demo
mkdir -p "$out"
STRATA_DB=$out/tune.db
export STRATA_DB

say() { printf '\n== %s\n' "$*"; }

# The King James Bible, 4 MB (docs/data.md): verses without their numbers, the last twentieth held out.
if [ ! -s "$out/train.txt" ]; then
    bible -f 'gen1:1-rev22:21' </dev/null | sed 's/^[^ ]* //' >"$out/all.txt"
    size=$(wc -c <"$out/all.txt")
    head -c $((size * 19 / 20)) "$out/all.txt" >"$out/train.txt.part"
    tail -c $((size / 100)) "$out/all.txt" >"$out/held_out.txt"
    mv "$out/train.txt.part" "$out/train.txt"
fi

say "the model"
"$strata" check $here $sizes

say "tuning its kernels for this machine: 45 s"
"$strata" tune $here $sizes --budget 45s

say "training"
rm -rf "$out/run"
"$strata" train $here $sizes --data "$out/train.txt" --eval-data "$out/held_out.txt" \
    --steps 300 --lr 3e-3 --out "$out/run"

say "generating"
"$strata" generate $here $sizes --params "$out/run/params.safetensors" \
    --prompt 'And the LORD said unto ' --tokens 300 --temperature 0.7

say "a mixture of experts with linear attention: training"
rm -rf "$out/experts"
"$strata" train models/kimi_linear.strata --set size=tiny --set sparse=true --context 128 \
    --data "$out/train.txt" --eval-data "$out/held_out.txt" --steps 100 --lr 3e-3 --out "$out/experts"

say "comparing block sizes, and PreNorm"
"$strata" sweep $here $sizes --vary block=1,2,4,8 --compare models/prenorm.strata \
    --metrics step,memory,traffic,loss --data "$out/train.txt" --eval-data "$out/held_out.txt" \
    --steps 120 --lr 3e-3 -o "$out/sweep" >"$out/sweep.txt"
# The last line is the path of the report.
sed '$d' "$out/sweep.txt"
say "the report"
tail -n 1 "$out/sweep.txt"
