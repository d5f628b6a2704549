# mapping.sh: import and export: what is wrong with a mapping or a checkpoint is said, exit 1, and nothing is written.
# What they write is compared with NumPy by tests/models/compare_mapping.py.
. "$(dirname "$0")/lib.sh" "$@"

# Two axes are named a.
cat >m.strata <<'END'
model m {
    dim a = 2, b = 3, c = 5
    param w[a, b, c] = 1
    param v[a, c] = 2
    state s[c] = 0
    input x[a] : f32
    output y = sum(w, [b, c]) * x + sum(v * s, c) + other()
}
fn other() {
    dim a = 4
    param k[a] = 1
    return sum(k, a)
}
END
"$tensors" make theirs.st x.w:f32:2x3x5:below9 x.v:f32:2x5:below9 x.s:f32:5:3 x.k:f32:4:below9
# A tensor of theirs for each of ours; the argument is added to the rule of other.k.
rules() {
    printf '{"rules": [' >map.json
    for name in w v s; do printf '{"ours": "%s", "name": "x.%s"}, ' $name $name; done >>map.json
    printf '{"ours": "other.k", "name": "x.k"%s}], "ignore": ["*.inv_freq"]}\n' "${1-}" >>map.json
}

# ---- messages
awk 'BEGIN { RS = ""; FS = "\n--\n" } NR > 1 { printf "%s\n", $1 >("case" NR ".json"); printf "%s\n", $2 >("case" NR ".err") }' \
    "$root/tests/cli/mapping_errors.txt"
cases=0
for message in case*.err; do
    cp "${message%.err}.json" map.json
    expect 1 import m.strata --from theirs.st --map map.json -o p.st
    out_empty
    cmp -s err "$message" || { diff "$message" err >&2; fail "$(cat map.json)"; }
    absent p.st
    cases=$((cases + 1))
done
[ "$cases" = "$(grep -c '^--$' "$root/tests/cli/mapping_errors.txt")" ] || fail "$cases cases"

# ---- what works: both ways, with what is left out named
rules
expect 0 import m.strata --from theirs.st --map map.json -o p.st
[ ! -s err ] || fail "stderr is not empty"
expect 0 export m.strata --params p.st --map map.json -o theirs --json
json_has path files tensors initial elements
expect 0 import m.strata --from theirs --map map.json -o q.st
cmp -s p.st q.st || fail "other bytes after a round trip"
rules ', "init": true'
"$tensors" make less.st x.w:f32:2x3x5:below9 x.v:f32:2x5:below9 x.s:f32:5:3 a.inv_freq:f32:2:1 b.inv_freq:f32:2:1
expect 0 import m.strata --from less.st --map map.json -o p.st
out_has 'p.st: 4 tensors, 49 elements; 1 have initial values'
err_has '2 tensors are left out: a.inv_freq, b.inv_freq'
"$tensors" make more.st w:f32:2x3x5:1 v:f32:2x5:1 other.k:f32:4:1 optim.m.w:f32:2:1
expect 0 export m.strata --params more.st --map map.json -o theirs2
err_has '1 tensor is left out: optim.m.w'

# ---- folders of several files
index() { printf '%s\n' "$1" >"$2/model.safetensors.index.json"; }
refused() {
    expect 1 import m.strata --from "$1" --map map.json -o no.st
    err_has "$2"
    absent no.st
}
mkdir f
refused f 'f/model.safetensors: error: cannot read'
index '{}' f
refused f 'index.json: error: it has no weight_map'
index '[' f
refused f 'index.json'
for name in '"../theirs.st"' '".st"' '""' 7; do
    index "{\"weight_map\": {\"x.w\": $name}}" f
    refused f "index.json: error: 'x.w' is in no file beside it"
done
index '{"weight_map": {"x.w": "a.st"}}' f
refused f 'f/a.st: error: cannot read'
cp theirs.st f/a.st
index '{"weight_map": {"x.w": "a.st", "x.z": "a.st"}}' f
refused f "index.json: error: tensor 'x.z' is not in 'a.st'"
cp theirs.st f/b.st
index '{"weight_map": {"x.w": "a.st", "x.v": "b.st"}}' f
refused f "f/b.st: error: tensor 'x.w' is in f/a.st as well"
rules ', "shape": [2, 2], "steps": [{"slice": {"axis": 0, "begin": 0, "end": 1}}, {"reshape": [2]}]'
refused theirs.st "it makes \[2\], and 'other.k' has shape \[4\]"

# ---- some experts only; what is no number; integers are no floats' business, but floats are not integers'
printf '{"rules": [{"ours": "w", "name": "x.{e}", "init": true, "shape": ["a", "c"], "steps": [{"stack": {"axis": 1, "over": "e", "count": "b"}}]},
    {"ours": "*", "init": true}], "ignore": ["*"]}' >init.json
sed 's/"ours": "\*"/"ours": "v"/; s/}], "ignore"/}, {"ours": "other.k", "init": true}], "ignore"/' init.json >some.json
"$tensors" make some.st x.0:f32:2x5:1 x.2:f32:2x5:1
expect 1 import m.strata --from some.st --map some.json -o no.st
err_has "some.st: error: some tensors of 'w' are missing and some are there"
rules
"$tensors" make nan.st x.w:f32:2x3x5:1 x.v:f32:2x5:nan x.s:f32:5:3 x.k:f32:4:1
refused nan.st 'nan.st: error: x.v\[0=0, 1=0\] is NaN'

# ---- export
mkdir full
: >full/kept
expect 1 export m.strata --params p.st --map map.json -o full
err_has 'full: error: it exists and is no empty folder'
expect 1 export m.strata --params p.st --map map.json -o p.st
mkdir -p deep/empty
expect 0 export m.strata --params p.st --map map.json -o deep/empty/ --shard-size 1
[ "$(ls deep)" = empty ] || fail "a piece is left: $(ls deep)"
[ "$(ls deep/empty | wc -l)" = 5 ] || fail "files: $(ls deep/empty)"
"$tensors" make fewer.st w:f32:2x3x5:1 v:f32:5x2:1
expect 1 export m.strata --params fewer.st --map map.json -o no
err_has "fewer.st: error: tensor 'v' has shape \[5, 2\] and the model needs \[2, 5\]"
err_has "fewer.st: error: parameter 'other.k' is missing"
"$tensors" make nans.st w:f32:2x3x5:1 v:f32:2x5:1 s:f32:5:nan other.k:f32:4:1
expect 1 export m.strata --params nans.st --map map.json -o no
err_has 'nans.st: error: x.s\[0=0\] is NaN'
[ -z "$(ls -d no* 2>/dev/null)" ] || fail "a piece is left: $(ls -d no*)"

# ---- places that cannot be written, and the command line
expect 3 import m.strata --from theirs.st --map map.json -o full/kept/p.st
expect 3 export m.strata --params p.st --map map.json -o full/kept/d
status=0
(ulimit -f 1 && trap '' XFSZ && exec "$strata" export m.strata --params p.st --map map.json -o no >out 2>err) || status=$?
[ $status = 3 ] || fail "a full disk: exit status $status"
[ -z "$(ls -d no* 2>/dev/null)" ] || fail "a full disk left a piece behind: $(ls -d no*)"
expect 2 import m.strata --map map.json -o no.st
err_has 'import needs --from PATH'
expect 2 import m.strata --from theirs.st -o no.st
expect 2 export m.strata --params p.st -o no
err_has 'export needs --map FILE'
expect 2 export m.strata --params p.st --map map.json -o no --shard-size 0
