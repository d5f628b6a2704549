# options.sh: what is wrong with a command line is said, with a suggestion, and exits with 2; what this version
# lacks exits with 3.
. "$(dirname "$0")/lib.sh" "$@"

expect 2
err_has 'no command'
expect 0 --help
out_has 'generate'
expect 0 --version
expect 2 chekc $model
err_has "did you mean 'check'"
expect 2 check $model --jsno
err_has "did you mean '--json'"
expect 2 check $model --steps 3
err_has "check has no option '--steps'"
expect 2 check
err_has 'needs a model'
expect 2 check $model other.strata
err_has 'takes one model'
expect 2 check $model --set layers
err_has 'NAME=VALUE'
expect 2 check $model --set layesr=3
err_has "did you mean 'layers'"
expect 2 check $model --context 0
expect 2 check $model --seed -1
expect 2 check $model --threads none
expect 2 tune $model --budget soon
expect 2 train $model
err_has 'data'
expect 2 train $model --data x.txt
err_has 'out'
expect 2 run $model
err_has 'params'
expect 2 init $model
expect 2 show $model
err_has 'stage'
expect 2 show $model --stage grpah
expect 2 show $model --stage regions --region nothing
err_has "no region 'nothing'"
expect 2 compile $model -o x.sta --mode fast
expect 2 sweep $model -o d
expect 2 sweep $model --vary block -o d
expect 2 sweep $model --vary block=1,2 -o d --metrics beauty
expect 2 sweep $model --vary block=1,2 -o d --metrics loss
expect 2 db
expect 2 db lits
expect 2 db export
expect 2 devices here
expect 2 check $model --target tpu
expect 2 check $model --dtype f8

for target in cpu cuda:sm_80 cuda:sm_90a cuda:sm_100a; do
    expect 0 check $model --target $target
done
expect 0 check $model --dtype bf16
expect 3 check $model --layout B:dp=2
expect 3 plan $model
expect 2 run $model --two-phase maybe
expect 2 sweep $model --vary block=1,2 -o d --metrics decoding
absent d

# Help of every command.
for c in check show explain init run compile tune bench train eval generate sweep db devices; do
    expect 0 $c --help
    out_has '--json'
done

# A result that cannot be written is an error of the machine.
if [ -c /dev/full ]; then
    status=0
    "$strata" check $model >/dev/full 2>err || status=$?
    [ $status = 3 ] || fail "a full stdout: exit status $status"
fi
