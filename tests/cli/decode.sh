# decode.sh: position by position the models give what they give at once; what cannot be computed so is refused.
. "$(dirname "$0")/lib.sh" "$@"
need_code

inputs in.st
# check MODEL OPTIONS...: sums of at most 512 terms in f32, twice: 2 * 512 * 2^-24 = 6e-5.
check() {
    expect 0 init "$@" -o p.st
    expect 0 run "$@" -p p.st -i in.st -o whole.st
    expect 0 run "$@" -p p.st -i in.st -o steps.st --decode
    "$tensors" within whole.st steps.st 6e-5 2>err || fail "compiled, $*"
    expect 0 run "$@" -p p.st -i in.st -o steps.st --decode --reference
    "$tensors" within whole.st steps.st 6e-5 2>err || fail "by the reference evaluator, $*"
    "$tensors" list steps.st >out
    out_has '^logits$'
}
tiny='--set d=16 --set h=2 --set dk=8 --set ff=16 --set layers=2 --threads 1'
for m in prenorm attnres_full attnres_block; do check "$root/models/$m.strata" $tiny; done
# Latent attention, Kimi Delta Attention and experts. Schemes whose ways through the depth differ most.
check "$root/models/kimi_linear.strata" --set size=tiny $tiny --set every=2 --set sparse=true --set e=4 --set top=2 --set wide=16
for r in mudd mhc heads; do check "$root/models/lm.strata" $tiny --set residual=$r; done
# Sequences that are packed along the positions.
"$tensors" make in.st tokens:i32:2x16:below256 segment:i32:2x16:below3
check "$root/tests/models/packed.strata" --threads 1
inputs in.st

# From an artifact, of more positions.
expect 0 init $model $small -o p.st
expect 0 run $model $small -p p.st -i in.st -o whole.st
expect 0 compile $model $small --set B=2 --set T=24 -o x.sta --json
json_has entries
out_has '"decode"'
expect 0 run x.sta -p p.st -i in.st -o steps.st --decode --json --threads 1
json_has path
"$tensors" within whole.st steps.st 6e-5 2>err || fail "from an artifact"
"$tensors" make long.st tokens:i32:2x25:below256
expect 1 run x.sta -p p.st -i long.st -o steps.st --decode
err_has 'long.st: error: there are 25 positions; the artifact takes 24'
expect 2 run $model $small -p p.st -i in.st -o steps.st --decode --grad

# Windows, shifts, and what looks ahead.
cat >conv.strata <<'END'
model conv {
    dim vocab = 256, d = 8, K = 4
    input tokens[B, T] : index(vocab)
    param embed[vocab, d] = normal(1), taps[K, d] = normal(1), head[d -> vocab] = fan_in
    let x = embed[vocab: tokens]
    let y = sum(window(x, T, K) * taps, K) + shift(x, T, 2)
    let logits = sum(y * head, d)
    output logits
}
END
"$tensors" make in.st tokens:i32:2x16:below256
check conv.strata --threads 1
sed 's/shift(x, T, 2)/shift(x, T, -2)/' conv.strata >ahead.strata
expect 0 init ahead.strata -o p.st
expect 1 run ahead.strata -p p.st -i in.st -o steps.st --decode
err_has "ahead.strata:6:.*error: 'shift' cannot be computed token by token: it reads later positions"
absent ahead.sta
expect 0 compile ahead.strata -o ahead.sta
err_has "no entries prefill and decode: 'shift' cannot be computed token by token"
expect 1 run ahead.sta -p p.st -i in.st -o steps.st --decode
err_has "the artifact has no 'decode'"

# Several prompts at once, of different lengths, one longer than a chunk and soon longer than what decode.512 looks at: each as if it were alone, and as if every token
# computed its whole context, which artifacts for training do.
model=$root/models/prenorm.strata
long=$(printf '%0505d' 7)
grow() {
    expect 0 generate "$@" -p p.st --temperature 0 --tokens 12 --threads 1 --json
    grep '"text"' out | tr -d ' ,'
}
expect 0 init $model $tiny -o p.st
expect 0 compile $model $tiny --set B=3 --set T=600 -o infer.sta
expect 0 compile $model $tiny --set B=1 --set T=600 --mode train -o train.sta
grow infer.sta --prompt Once --prompt "$long" --prompt "a b" >together
json_has texts tokens tokens_per_second
for prompt in Once "$long" "a b"; do
    grow infer.sta --prompt "$prompt" >one
    json_has prompt text
    cat one >>alone
    grow train.sta --prompt "$prompt" >>whole
done
cmp -s alone together || fail "a prompt's text depends on the others"
cmp -s alone whole || fail "decoding gives another text than whole contexts"
expect 0 generate infer.sta -p p.st --tokens 3 --threads 1 --prompt Once --prompt "a b"
out_has '^Once'
out_has '^a b'
expect 2 generate infer.sta -p p.st --prompt a --prompt b --prompt c --prompt d
err_has '4 prompts; the model was compiled for 3 rows'
# A model that cannot be computed so says it, and generates all the same. Past the context decoding goes on.
expect 0 generate $model $tiny -p p.st --context 8 --tokens 30 --threads 1 --prompt "longer than the context"
expect 0 init ahead.strata -o p.st
expect 0 generate ahead.strata -p p.st --context 8 --tokens 3 --threads 1
err_has "every token computes its whole context: 'shift' cannot be computed token by token"
