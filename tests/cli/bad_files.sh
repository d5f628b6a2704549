# bad_files.sh: files that are missing, truncated, hostile or of the wrong content: exit 1, or 3 where the machine
# is at fault; a message that names the file; no output file.
. "$(dirname "$0")/lib.sh" "$@"
need_code

expect 0 init $model $small -o p.st
inputs in.st
run() {
    status=$1
    shift
    expect "$status" run $model $small "$@" -o o.st
    absent o.st
}

run 1 --params absent.st --inputs in.st
err_has 'absent.st: error:'
run 1 --params p.st --inputs absent.st
err_has 'absent.st: error:'
run 1 --params in.st --inputs in.st
err_has 'in.st: error:'
run 1 --params p.st --inputs p.st
err_has "no input 'tokens'"

# Truncated at many places, and altered.
size=$(wc -c <p.st)
for n in 0 1 7 8 9 100 $((size / 2)) $((size - 1)); do
    head -c $n p.st >cut.st
    run 1 --params cut.st --inputs in.st
    err_has 'cut.st: error:'
done
printf '\377\377\377\377\377\377\377\177{}' >huge.st
run 1 --params huge.st --inputs in.st
err_has 'huge.st: error:'
printf '\002\000\000\000\000\000\000\000{}' >nothing.st
run 1 --params nothing.st --inputs in.st
printf '\004\000\000\000\000\000\000\000[[]]' >array.st
run 1 --params array.st --inputs in.st
cp -r "$root/tests" ./is_a_directory 2>/dev/null || mkdir is_a_directory
run 1 --params is_a_directory --inputs in.st

# Wrong extents, types and values.
run 1 --params p.st --inputs in.st --set d=32
err_has 'p.st: error:'
"$tensors" make rank.st tokens:i32:2:below256 targets:i32:2x16:below256
run 1 --params p.st --inputs rank.st
err_has 'rank.st: error:'
"$tensors" make uneven.st tokens:i32:2x16:below256 targets:i32:3x16:below256
run 1 --params p.st --inputs uneven.st
err_has 'axis B'
"$tensors" make floats.st tokens:f32:2x16:1 targets:i32:2x16:below256
run 1 --params p.st --inputs floats.st
for id in 256 -1; do
    "$tensors" make range.st tokens:i32:2x16:$id targets:i32:2x16:below256
    for how in '' --reference; do
        run 1 --params p.st --inputs range.st $how
        err_has 'tokens\[B=0, T=0\]'
    done
done
printf 'model m {\n dim d = 2\n param w[d] = 1\n input x[d] : f32\n output y = x * w\n}\n' >m.strata
"$tensors" make w.st w:f32:2:1
"$tensors" make nan.st x:f32:2:nan
expect 1 run m.strata --params w.st --inputs nan.st -o o.st
err_has 'nan.st: error:'
absent o.st

# Places that cannot be written; root may write anywhere but below a file.
: >file
expect 3 init $model $small -o file/p.st
err_has 'file/p.st'
expect 3 run $model $small --params p.st --inputs in.st -o file/o.st
expect 3 compile $model $small $batch -o file/x.sta
expect 3 sweep $model $small $batch --vary block=1 --metrics memory -o file/d

# A disk that is full: no file of more than 512 bytes. Nothing is left behind, and what was there stays.
echo before >kept.st
status=0
(ulimit -f 1 && trap '' XFSZ && exec "$strata" init $model $small -o kept.st >out 2>err) || status=$?
[ $status = 3 ] || fail "a full disk: exit status $status"
err_has 'kept.st'
[ "$(cat kept.st)" = before ] || fail "a full disk cost the old file"
[ "$(ls -A | grep -c kept)" = 1 ] || fail "a full disk left a piece behind"
