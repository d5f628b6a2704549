# models.sh: check, show, explain and init on good and bad models.
. "$(dirname "$0")/lib.sh" "$@"

for m in "$root"/models/*.strata; do
    expect 0 check $m
    out_has 'parameters'
done
expect 0 check $model --json
json_has parameters flops_per_token bytes_per_token state_bytes_per_token state_bytes_per_row
expect 0 check $model --train --json -q
json_has flops_per_token
expect 0 check $model --set size=tiny
expect 2 check $model --set size=huge
err_has "no size 'huge'"
expect 0 check $model --set layers=100
# Parameters by scope: those of the published layers.
expect 0 check "$root/models/kimi_linear.strata" --set size=b48
out_has '20 x 39.5 M   layers.*.mix.kda'
out_has ' 7 x 29.1 M   layers.*.mix.mla'
out_has '26 x 7.08 M   layers.*.ffn.shared'
out_has '26 x 1.81 G   layers.*.ffn.experts'
out_has '(49122928512)'
out_has '3.48 G parameters, 2.73 G without embeddings'
# Of a token 512 + 64 numbers in each of 7 layers; of a row 20 x (32 x 128 x 128 + 3 x 12288).
expect 0 check "$root/models/kimi_linear.strata" --set size=b48 --json
out_has '"state_bytes_per_token": 16128'
out_has '"state_bytes_per_row": 44892160'

for stage in ast graph regions tile plan; do
    [ $stage = plan ] && { "$strata" compile $model $small $batch -o probe.sta >out 2>err || break; }
    expect 0 show $model $small $batch --stage $stage
    [ -s out ] || fail "show --stage $stage prints nothing"
    expect 0 show $model $small $batch --stage $stage --json
    json_has stage text
done
expect 0 show $model $small $batch --stage graph --grad
out_has 'optim'
expect 0 show "$root/models/kimi_linear.strata" --set size=tiny --stage graph --decode
out_has '^state cache.12.keys : f32.B, context, latent. '
expect 0 show $model $small $batch --stage regions --prefill
out_has 'place'
expect 0 explain "$root/models/kimi_linear.strata" --set size=tiny --context 16 --decode
out_has '^    cache.12.keys B=1, context=16, latent=48: 3.00 KiB$'
expect 0 explain $model --decode --json
json_has kernels states
expect 0 show $model $small $batch --stage regions
name=$(sed -n 's/^region \([^ ]*\) .*/\1/p' out | head -n 1)
expect 0 show $model $small $batch --stage tile --region "$name"
out_has "$name"

# The canonical text of a model is a model again.
expect 0 show $model --stage ast
mkdir copy && cp out copy/again.strata && cp -r "$root/models/std" copy/
expect 0 check copy/again.strata --json

expect 0 explain $model $small $batch
out_has 'not fused'
expect 0 explain $model $small $batch --grad --json
json_has kernels not_fused

expect 0 init $model $small -o a.st
expect 0 init $model $small -o b.st --json
json_has path tensors parameters
cmp a.st b.st || fail "the same seed gives other parameters"
expect 0 init $model $small -o c.st --seed 1
cmp -s a.st c.st && fail "another seed gives the same parameters"

# Models that are wrong: exit 1, file:line:col, nothing on stdout.
expect 1 check absent.strata
err_has 'absent.strata: error:'
expect 1 check .
printf 'model m {\n    dim d = 4\n    let x = y\n    output x\n}\n' >wrong.strata
for c in 'check wrong.strata' 'show wrong.strata --stage graph' 'init wrong.strata -o w.st' \
    'compile wrong.strata -o w.sta' 'explain wrong.strata'; do
    expect 1 $c
    err_has 'wrong.strata:3:13: error:'
    out_empty
done
absent w.st
absent w.sta
printf 'model m {' >cut.strata
expect 1 check cut.strata
err_has 'cut.strata:1:'
printf '\377\376\000\001' >bytes.strata
expect 1 check bytes.strata
: >empty.strata
expect 1 check empty.strata
printf 'import std.nothing\nmodel m { dim d = 2\n input x[d] : f32\n output x }\n' >import.strata
expect 1 check import.strata
err_has 'import.strata:1:'
# An axis of another name than B and T needs an extent.
printf 'model m { dim d = 2\n input x[N, d] : f32\n output x }\n' >axis.strata
expect 2 check axis.strata
err_has '--set N='
expect 0 check axis.strata --set N=3
