# artifacts.sh: compile, and .sta in place of a model; damaged ones.
. "$(dirname "$0")/lib.sh" "$@"
need_code

expect 0 init $model $small -o p.st
inputs in.st
expect 0 compile $model $small $batch -o x.sta --json
json_has path kernels entries extents
expect 0 compile $model $small $batch -o again.sta
cmp x.sta again.sta || fail "the same model compiles to other bytes"
expect 0 run $model $small --params p.st --inputs in.st -o a.st
expect 0 run x.sta --params p.st --inputs in.st -o b.st --threads 2
cmp a.st b.st || fail "the artifact gives other numbers"
expect 0 show x.sta --stage plan

expect 1 run x.sta --params p.st --inputs in.st -o g.st --grad
err_has '--mode train'
expect 2 run x.sta --set d=3 --params p.st --inputs in.st -o g.st
expect 2 eval x.sta --params p.st --data in.st --context 3
expect 2 train x.sta --data x.sta --out d --optimizer sgd
expect 1 train x.sta --data x.sta --out d
err_has '--mode train'
expect 2 check x.sta
expect 0 compile $model $small $batch --mode train -o t.sta
expect 0 run t.sta --params p.st --inputs in.st -o g.st --grad
"$tensors" make other.st tokens:i32:2x17:below256 targets:i32:2x17:below256
expect 1 run x.sta --params p.st --inputs other.st -o o.st
err_has 'other.st: error:'

size=$(wc -c <x.sta)
for n in 0 8 40 127 128 1000 $((size / 2)) $((size - 1)); do
    head -c $n x.sta >cut.sta
    expect 1 run cut.sta --params p.st --inputs in.st -o o.st
    err_has 'cut.sta: error:'
done
for at in 0 9 20 33 200 $((size / 2)) $((size - 2)); do
    { head -c $at x.sta; printf '\252\125'; tail -c +$((at + 3)) x.sta; } >bent.sta
    cmp -s x.sta bent.sta && continue
    expect 1 run bent.sta --params p.st --inputs in.st -o o.st
    err_has 'bent.sta: error:'
done
absent o.st
expect 1 run absent.sta --params p.st --inputs in.st -o o.st

# The text of a model under the name of an artifact.
cp $model text.sta
expect 1 run text.sta --params p.st --inputs in.st -o o.st

# train and generate take artifacts too.
yes 'In the beginning God created the heaven and the earth.' 2>/dev/null | head -n 40 >text
expect 0 train t.sta --data text --steps 2 --out run --threads 2
expect 0 generate x.sta --params run/params.safetensors --tokens 3 --threads 2
