# lib.sh: for the tests of the command line. Usage: sh TEST.sh STRATA TENSORS SOURCE_ROOT
set -eu
strata=$1
tensors=$2
root=$3
unset STRATA_PATH XDG_CACHE_HOME 2>/dev/null || :
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export STRATA_DB="$work/tune.db"
# LeakSanitizer of gcc 12 now and then crashes reading the thread-local storage of a module loaded at run time.
export LSAN_OPTIONS=use_tls=0
model=$root/models/attnres_block.strata
# Small enough for every build, with two sublayers and so a real stack.
small='--set d=16 --set h=2 --set dk=8 --set ff=32 --set layers=1 --set block=1 --threads 2'
batch='--set B=2 --set T=16'

fail() {
    echo "FAILED: $*" >&2
    echo "-- stdout" >&2; head -c 2000 out >&2 || :
    echo "-- stderr" >&2; head -c 4000 err >&2 || :
    exit 1
}

# expect STATUS COMMAND...: runs strata; its output is in the files out and err.
expect() {
    wanted=$1
    shift
    got=0
    "$strata" "$@" >out 2>err </dev/null || got=$?
    [ "$got" = "$wanted" ] || fail "strata $*: exit status $got, not $wanted"
}
err_has() { grep -q -e "$1" err || fail "stderr lacks: $1"; }
out_has() { grep -q -e "$1" out || fail "stdout lacks: $1"; }
out_empty() { [ ! -s out ] || fail "stdout is not empty"; }
# One JSON object on stdout, with these keys.
json_has() { "$tensors" json "$@" <out 2>>err || fail "stdout is no JSON object with: $*"; }
absent() { [ ! -e "$1" ] || fail "$1 exists"; }

inputs() { "$tensors" make "$1" tokens:i32:2x16:below256 targets:i32:2x16:below256; }
need_code() {
    "$strata" compile $model $small $batch -o probe.sta >out 2>err && return
    grep -q LLVM err && { echo "skipped: no code generator"; exit 77; }
    fail "compile"
}
