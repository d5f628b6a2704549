# run.sh: one evaluation, compiled and by the reference evaluator.
. "$(dirname "$0")/lib.sh" "$@"
need_code

expect 0 init $model $small -o p.st
inputs in.st
expect 0 run $model $small --params p.st --inputs in.st -o ref.st --reference --grad --json
json_has path loss
expect 0 run $model $small --params p.st --inputs in.st -o out.st --grad --json
json_has path loss
# Sums of at most 512 terms in f32: 512 * 2^-24 = 3e-5.
"$tensors" compare ref.st out.st 3e-5 2>err || fail "compiled and reference differ"
"$tensors" list out.st >out
for name in loss logits grad.embed grad.head; do out_has "^$name\$"; done
expect 0 run $model $small --params p.st --inputs in.st -o plain.st
"$tensors" list plain.st >out
grep -q grad out && fail "gradients without --grad"

# States go on where they were.
cat >counter.strata <<'END'
model counter {
    dim d = 3
    input x[d] : f32
    state total[d] = 0
    update total = total + x
    output y = total + x
}
END
"$tensors" make x.st x:f32:3:2
"$tensors" make none.st other:f32:1:0
for how in '' --reference; do
    expect 0 run counter.strata --params none.st --inputs x.st -o s1.st --state $how
    expect 0 run counter.strata --params s1.st --inputs x.st -o s2.st --state $how
    "$tensors" make wanted.st y:f32:3:4 total:f32:3:4
    "$tensors" compare wanted.st s2.st 0 2>err || fail "states $how"
done
expect 1 run counter.strata --params none.st --inputs x.st -o g.st --grad
err_has 'no loss'
absent g.st
