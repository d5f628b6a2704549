# dist.sh: an archive, unpacked elsewhere and used with a clean environment.
. "$(dirname "$0")/lib.sh" "$@"
build=$(dirname "$strata")

# Libraries of a sanitizer or of oneDNN make archives large, and come from this system.
DIST_GLIBC=99 DIST_MB=500 "$root/tools/dist.sh" "$build" "$work/out" >path 2>err || fail "dist.sh"
mkdir away && tar -C away -xzf "$(cat path)" || fail "unpacking"
cd away/strata-*-linux-x86_64
strata=$PWD/strata
[ -s README ] && [ -s COMMIT ] || fail "README or COMMIT is missing"

# Libraries come from the archive, and none from the build.
env -i ldd ./strata tests/bench_step tests/gpu_models >out
if grep 'not found' out; then fail "a library is missing"; fi
for library in libsqlite3 libjansson; do
    grep -q "=> $PWD/./lib/$library\|=> $PWD/lib/$library" out || fail "$library is not the archive's"
done

clean() { env -i HOME="$work" PATH=/usr/bin:/bin ASAN_OPTIONS=detect_leaks=0 "$@" >out 2>err; }
sizes='--set d=16 --set h=2 --set dk=8 --set ff=32 --set layers=1 --set block=1'
clean ./strata check models/attnres_block.strata $sizes || fail "check"
# The standard library is found beside the executable, from anywhere.
cp models/attnres_block.strata "$work/mine.strata"
(cd / && clean "$strata" check "$work/mine.strata" $sizes) || fail "check from another folder"
status=0
clean ./test-gpu.sh || status=$?
[ $status = 3 ] || [ $status = 0 ] || fail "test-gpu.sh: exit status $status"
[ $status = 0 ] || grep -q '^test-gpu: ' err || fail "test-gpu.sh does not say why"

status=0
clean env STRATA_NVRTC="${STRATA_NVRTC:-}" ./strata compile models/attnres_block.strata $sizes --batch 1 --context 16 \
    --target cuda:sm_90a -o "$work/x.sta" || status=$?
if [ $status = 3 ] && grep -q NVRTC err; then
    echo "skipped: no NVRTC"
    exit 77
fi
[ $status = 0 ] || fail "compile: exit status $status"
clean ./strata show "$work/x.sta" --stage plan || fail "show"
out_has 'cuda:sm_90a'
