# inspect.sh: depth weights, magnitudes and the mixing matrix of models whose numbers are known.
. "$(dirname "$0")/lib.sh" "$@"
need_code

plain=$root/models/prenorm.strata
sizes='--set d=16 --set h=2 --set dk=8 --set ff=32 --set layers=1 --threads 2'
shape='--context 16 --batch 2'
yes 'In the beginning God created the heaven and the earth.' 2>/dev/null | head -n 60 >text

# numbers FILE.npy [DIGITS]: its elements, rounded, on one line.
numbers() { od -An -v -tf8 -j128 "$1" | tr -s ' \n' '\n\n' | awk -v n="${2:-4}" 'NF { printf "%s%.*f", s, n, $1; s = " " } END { print "" }'; }
same() { [ "$(numbers "$1")" = "$2" ] || fail "$1: $(numbers "$1"), not $2"; }

# One stream: a triangle of ones.
expect 0 init $plain $sizes -o p.safetensors
expect 0 inspect $plain $sizes $shape --params p.safetensors --data text -o one
out_has 'no weighted sums over depth'
out_has 'rank 3, semiseparable rank 1'
[ "$(tail -n 1 out)" = one/report.html ] || fail "the report's path is not the last line"
same one/mixing.npy '1.0000 0.0000 0.0000 1.0000 1.0000 0.0000 1.0000 1.0000 1.0000'
absent one/depth_weights.npy
grep -qE 'src=|href="?http' one/report.html && fail "the report needs other files"
for f in magnitudes.npy inspect.json; do [ -s one/$f ] || fail "$f is missing"; done

# In a stream the gradient of an output is that of the next input. Rows: embed, attn, mlp, head.
numbers one/magnitudes.npy 10 | awk '{ for (i = 1; i < 4; i++) if ($(4 * i) != $(4 * i + 3) || !($(4 * i) > 0)) exit 1; exit $2 != $5 }' ||
    fail "gradients: $(numbers one/magnitudes.npy 10)"

# Attention over depth starts as the mean of its sources.
expect 0 init $model $sizes --set block=1 -o f.safetensors
expect 0 inspect $model $sizes --set block=1 $shape --params f.safetensors --data text -o full --json
json_has loss tokens sublayers depth_weights mixing
same full/mixing.npy '1.0000 0.0000 0.0000 0.5000 0.5000 0.0000 0.3333 0.3333 0.3333'
same full/depth_weights.npy '0.5000 0.5000 nan 0.3333 0.3333 0.3333'
if command -v gnuplot >/dev/null; then
    for f in weights_mlp weights_head magnitudes gradients mixing; do [ -s full/$f.svg ] || fail "$f.svg is missing"; done
    grep -q '<svg' full/report.html || fail "the report has no pictures"
fi
# Trained, the weights are anything, but each row still sums to 1, and they are what the matrix, found another way, has.
expect 0 train $model $sizes --set block=1 --set layers=2 $shape --data text --steps 4 --lr 0.1 --warmup 0 --out t -q
expect 0 inspect $model $sizes --set block=1 --set layers=2 $shape --params t/params.safetensors --data text -o trained
{ numbers trained/depth_weights.npy 6; numbers trained/mixing.npy 6; } | awk '
    NR == 1 { for (i = 1; i <= NF; i++) w[i] = $i }
    NR == 2 { for (r = 0; r < 4; r++) {
        sum = 0
        for (c = 1; c <= r + 2; c++) {
            d = w[5 * r + c] - $(5 * (r + 1) + c)
            if (d * d > 1e-10) exit 1
            sum += w[5 * r + c]
            if (w[5 * r + c] - 1 / (r + 2) > 1e-3) moved = 1
        }
        if ((sum - 1) ^ 2 > 1e-10) exit 1
    } exit !moved }' || fail "trained weights: $(numbers trained/depth_weights.npy 6), matrix $(numbers trained/mixing.npy 6)"
# Blocks of two: the head reads the sum of both sublayers.
expect 0 inspect $model $sizes --set block=2 $shape --params f.safetensors --data text -o block
same block/mixing.npy '1.0000 0.0000 0.0000 0.5000 0.5000 0.0000 0.5000 0.5000 0.5000'
same block/depth_weights.npy '0.5000 0.5000 0.5000 0.5000'

# Routers: in each layer shares of the experts, which add up to 1, because nothing is dropped.
kimi="$root/models/kimi_linear.strata --set size=tiny --set sparse=true --set layers=3 --threads 2"
expect 0 init $kimi -o k.safetensors
expect 0 inspect $kimi $shape --params k.safetensors --data text -o routers
grep -q '"layers.1.ffn.*load": \[' routers/inspect.json || fail "the load is not in the JSON"
numbers routers/report_load.npy 6 | awk '{ for (i = 1; i <= NF; i++) sum += $i; exit !(NF == 32 && (sum - 2) ^ 2 < 1e-9) }' ||
    fail "load: $(numbers routers/report_load.npy 6)"
same routers/report_dropped.npy '0.0000 0.0000'
awk '$1 ~ /load$/ { rows++; if (!($2 <= 1 / 16 && $2 <= $3 && $3 <= $4 && $4 >= 1 / 16)) bad = 1 } END { exit bad || rows != 2 }' out ||
    fail "least, median and most of the load: $(cat out)"
grep -q '>most<' routers/report.html || fail "the page has no extremes of the load"
grep -q 'dropped' routers/report.html || fail "the page shows no reports"
if command -v gnuplot >/dev/null; then [ -s routers/report_load.svg ] || fail "report_load.svg is missing"; fi

# Schemes of all kinds: the matrix explains what sublayers read, to a few roundings of f32.
lm=$root/models/lm.strata
for scheme in post highway mhc heads; do
    s="--set size=tiny --set d=16 --set layers=2 --set residual=$scheme --threads 2"
    expect 0 init $lm $s -o s.safetensors
    expect 0 inspect $lm $s $shape --params s.safetensors --data text -o s
    sed -n 's/.*unexplained //p' out | awk '{ exit !($1 < 1e-5) }' || fail "$scheme: the matrix leaves something unexplained"
done

# Without marks there are the weights alone; without those there is nothing.
cat >bare.strata <<'END'
import std.depth
import std.mlp
model bare {
    dim vocab = 256, d = 16, ff = 32
    input tokens[B, T] : index(vocab)
    param embed[vocab, d] = normal(1)
    let vs = [embed[vocab: tokens]]
    for l in 0 .. 2 as layers {
        vs = vs + [swiglu(attn_res(vs, d) as mix, d, ff) as mlp]
    }
    output y = attn_res(vs, d) as out
}
END
expect 0 init bare.strata -o b.safetensors
expect 0 inspect bare.strata $shape --params b.safetensors --data text -o bare
same bare/depth_weights.npy '0.5000 0.5000 nan 0.3333 0.3333 0.3333'
absent bare/mixing.npy
grep -q 'marks no sublayers' bare/report.html || fail "the report does not say what it lacks"
grep -q '"layers.1.mix"' bare/inspect.json || fail "a mix is not named after its parameters"
cat >flat.strata <<'END'
model flat {
    dim vocab = 256, d = 4
    input tokens[B, T] : index(vocab)
    param embed[vocab, d] = normal(1)
    output y = embed[vocab: tokens]
}
END
expect 0 init flat.strata -o n.safetensors
expect 1 inspect flat.strata $shape --params n.safetensors --data text -o n
err_has 'flat.strata: error: the model mixes nothing over its depth'
absent n

expect 2 inspect $plain $sizes --data text -o e
err_has 'inspect needs --params FILE'
expect 2 inspect $plain $sizes --params p.safetensors -o e
err_has 'inspect needs --data FILE'
expect 2 inspect $plain $sizes --params p.safetensors --data text
expect 1 inspect $plain $sizes $shape --params absent --data text -o e
err_has 'absent: error:'
expect 1 inspect $plain $sizes $shape --params p.safetensors --data absent -o e
err_has 'absent: error:'
absent e
