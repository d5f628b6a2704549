# residual.sh: what explain says of the traffic between sublayers, and both ways to compute attention over depth.
. "$(dirname "$0")/lib.sh" "$@"

lm=$root/models/lm.strata
sizes='--set size=tiny --set layers=8 --context 64'
# moves NAME READ WRITTEN: the row of that name, but for the few numbers a token that softmax hands on.
moves() {
    sed -n '/^residual mechanism/,$p' out |
        awk -v n="$1" -v r="$2" -v w="$3" '$1 == n { found = $2 >= r && $2 < r + 0.1 && $3 >= w && $3 < w + 0.1 } END { exit !found }' ||
        fail "$1: not $2 and $3"
}
total() { awk '/ together / { print int($NF * 100) }' out; }

# Table 1 of the paper: a stream reads two values and writes one.
expect 0 explain $lm $sizes --set residual=standard
moves layers.0.mix 0 0
moves layers.3.mix 2 1
moves layers.7.ffn 2 1
moves out 2 0
# Of blocks of four: what the first phase gave, the sum so far and the new output are read; the sum, and what the first phase
# gives, are written.
expect 0 explain $lm $sizes --set residual=block --set block=4 --two-phase on
moves layers.5.mix 3 2
moves layers.5.ffn 3 2
on=$(total)
expect 0 explain $lm $sizes --set residual=block --set block=4 --two-phase off
moves layers.0.ffn 2 0
[ "$(total)" -gt "$on" ] || fail "one phase moves no more than two: $(total), $on"
# At the paper's typical setting (128 sublayers, 8 blocks, 4 streams) no more than its table 1, and what docs/inspect.md says.
typical="--set layers=64 --set block=16 --set d=2048 --context 64"
for row in 'standard 3 2.97' 'mhc 34 16.90' 'full 24 11.60' 'block 5.5 4.87'; do
    set -- $row
    expect 0 explain $lm $typical --set residual=$1
    awk -v paper=$2 -v ours=$3 '/ together / { good = $NF <= paper && $NF >= ours - 0.1 && $NF <= ours + 0.1 } END { exit !good }' out ||
        fail "$1: $(grep together out), not $3"
done
expect 0 explain $lm $sizes --set residual=block --json
json_has residual kernels
expect 0 explain $lm $sizes --grad
grep -q '^residual' out && fail "a training step has no such table"
cat >plain.strata <<'END'
model plain {
    dim d = 4
    input x[B, d] : f32
    output y = x * x
}
END
expect 0 explain plain.strata --set B=2
grep -q '^residual' out && fail "a model without sublayers has no such table"

need_code
inputs i.safetensors
s="$lm --set size=tiny --set layers=4 --set residual=block"
expect 0 init $s -o p.safetensors
for way in on off; do
    expect 0 run $s --params p.safetensors --inputs i.safetensors --grad --two-phase $way -o $way.safetensors
done
"$tensors" compare on.safetensors off.safetensors 1e-4 2>err || fail "two phases give other numbers than one"
