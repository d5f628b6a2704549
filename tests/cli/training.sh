# training.sh: train, eval, generate, bench and tune on a small model.
. "$(dirname "$0")/lib.sh" "$@"
need_code
sizes="$small --context 16 --batch 2"

yes 'In the beginning God created the heaven and the earth.' 2>/dev/null | head -n 60 >text
expect 0 train $model $sizes --data text --eval-data text --steps 6 --checkpoint-every 3 --out run --json
json_has step loss eval_loss params checkpoint metrics
[ "$(wc -l <run/metrics.jsonl)" = 6 ] || fail "not one line a step"
while read -r line; do
    printf '%s' "$line" | "$tensors" json step loss lr tokens 2>err || fail "metrics.jsonl: $line"
done <run/metrics.jsonl

# Resumed, it ends where the whole run ended.
expect 0 train $model $sizes --data text --steps 6 --checkpoint-every 3 --out whole
cp -r whole half && rm half/params.safetensors half/checkpoint-6.safetensors
ln -sfn checkpoint-3.safetensors half/latest
expect 0 train $model $sizes --data text --steps 6 --checkpoint-every 3 --resume half
cmp whole/params.safetensors half/params.safetensors || fail "a resumed run differs"
expect 0 train $model $sizes --data text text --steps 1 --out several --accumulate 2

expect 0 eval $model $sizes --params run/params.safetensors --data text --json
json_has loss bits_per_byte tokens_per_second
expect 0 generate $model $sizes --params run/params.safetensors --prompt In --tokens 5 --json
json_has text tokens
expect 0 generate $model $sizes --params run/params.safetensors --prompt In --tokens 5 --temperature 0
expect 0 bench $model $sizes --train --kernels --json
json_has median_ms tokens_per_second floor_ms kernels
expect 0 bench $model $sizes
out_has 'tokens/s'
for what in prefill decode; do
    expect 0 bench $model $sizes --$what --json --threads 1
    out_has "\"$what\""
done
expect 0 tune $model $sizes --budget 4 --json
json_has trials best_ns

# What is wrong with data is said.
expect 1 train $model $sizes --data absent --steps 1 --out bad
err_has 'absent: error:'
: >empty
expect 1 train $model $sizes --data empty --steps 1 --out bad
err_has 'empty: error:'
printf 'short' >short
expect 1 eval $model $sizes --params run/params.safetensors --data short
expect 1 train $model $sizes --set vocab=32 --data text --steps 1 --out bad
err_has 'text: error:'
printf '\000\001\000\001' >ids.bin
expect 1 train $model $sizes --data ids.bin --steps 1 --out bad
expect 2 train $model $sizes --data text --steps 1 --optimizer adma --out bad
err_has 'adma'
expect 2 train $model $sizes --data text --steps 1 --schedule sawtooth --out bad
expect 1 train $model $sizes --data text --steps 6 --resume absent
expect 1 eval $model $sizes --params text --data text
expect 1 generate $model $sizes --params absent
expect 1 generate $model $sizes --set d=8 --params run/params.safetensors
: >file
expect 3 train $model $sizes --data text --steps 1 --out file/run

# Ctrl-C: 130, the state is saved, and the run can go on.
"$strata" train $model $sizes --data text --steps 1000000 --out long >out 2>err &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -s long/metrics.jsonl ] && break
    sleep 0.5
done
kill -TERM $pid
status=0
wait $pid || status=$?
[ $status = 130 ] || fail "interrupted training: exit status $status"
err_has 'interrupted after step'
steps=$(wc -l <long/metrics.jsonl)
expect 0 train $model $sizes --data text --steps $((steps + 1)) --resume long --schedule constant
