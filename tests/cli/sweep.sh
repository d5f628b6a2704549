# sweep.sh: variants side by side.
. "$(dirname "$0")/lib.sh" "$@"
need_code

yes 'In the beginning God created the heaven and the earth.' 2>/dev/null | head -n 60 >text
sizes="$small --context 16 --batch 2"
expect 0 sweep $model $sizes --vary block=1,2 --compare "$root/models/prenorm.strata" --data text \
    --metrics step,prefill,decode,memory,traffic,loss --steps 3 -o d
out_has 'block=2'
out_has 'ms a token'
grep -q decode_ms d/results.json || fail "results.json lacks decode_ms"
out_has 'prenorm'
[ "$(tail -n 1 out)" = d/report.html ] || fail "the report's path is not the last line"
for f in report.html results.json; do [ -s d/$f ] || fail "$f is missing"; done
"$tensors" json points <d/results.json 2>err || fail "results.json"
grep -q 'block=1' d/report.html || fail "the report lacks a variant"
grep -qE 'src=|href="?http' d/report.html && fail "the report needs other files"
if command -v gnuplot >/dev/null; then
    grep -q '<svg' d/report.html || fail "the report has no pictures"
fi

# With several seeds: intervals, a folder of training a seed, and the Pareto front of each cost.
expect 0 sweep $model $sizes --vary block=1,2 --data text --metrics step,traffic,loss --steps 3 --seeds 2 -o seeds
out_has 'against first (95 %)'
[ -d 'seeds/block=2/seed-1' ] || fail "a seed has no folder"
for key in losses loss_interval against_first on_front; do grep -q "\"$key\"" seeds/results.json || fail "$key is missing"; done
grep -q 'Pareto front' seeds/report.html || fail "the report does not speak of the front"
if command -v gnuplot >/dev/null; then
    for f in front_step front_traffic; do [ -s seeds/$f.svg ] || fail "$f.svg is missing"; done
fi
expect 2 sweep $model $sizes --vary block=1 --seeds 0 -o e

# Without gnuplot the report says so.
mkdir bin
for f in sh mktemp rm; do ln -s "$(command -v $f)" bin/$f; done
(PATH=$work/bin; expect 0 sweep $model $sizes --vary block=1 --metrics memory -o bare --json) || exit 1
json_has points
grep -q 'gnuplot is not installed' bare/report.html || fail "the report does not say what it lacks"

expect 1 sweep $model $sizes --vary block=1 --metrics loss --data absent -o e
err_has 'absent: error:'
expect 2 sweep $model $sizes --vary nothing=1 --metrics memory -o e
