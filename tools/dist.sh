#!/bin/sh
# dist.sh BUILD OUT [STRATA]: packs the programs of BUILD (target dist_programs), the libraries that they need beside
# glibc, the models, the tests and benchmarks for GPUs into OUT/strata-VERSION-linux-x86_64.tar.gz; it prints the path.
# STRATA, a build with LLVM, trains on this CPU what tests/gpu/curves.py compares with; without it the archive has no
# such curve, and the comparison is left out there.
#   DIST_GLIBC   newest version of glibc that may be needed; default 2.35
#   DIST_MB      largest size; default 50
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { sed -n '2,7s/^# //p' "$0" >&2; exit 2; }
build=$1
out=$2
trainer=${3:-}
version=$("$build/strata" --version | grep -o '[0-9][0-9.]*' | head -n 1)
name=strata-$version-linux-x86_64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
top=$work/$name
mkdir -p "$top/lib" "$top/tests/gpu" "$top/tests/models" "$top/docs" "$out"

programs=$(cd "$build" && ls -d strata tests/bench_step tests/gpu_*)
for program in $programs; do
    strip -o "$top/$program" "$build/$program"
done
for program in $programs; do
    ldd "$build/$program"
done | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
    case ${library##*/} in
    libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so*) ;;
    *) cp -L "$library" "$top/lib/" ;;
    esac
done
needed=$(find "$top" -type f \( -perm /111 -o -name '*.so*' \) -exec objdump -T {} + | grep -o 'GLIBC_2\.[0-9]*' |
    sort -uV | tail -n 1)
newest=$(printf '%s\n%s\n' "${needed#GLIBC_}" "${DIST_GLIBC:-2.35}" | sort -V | tail -n 1)
[ "$newest" = "${DIST_GLIBC:-2.35}" ] || { echo "dist: the programs need ${needed}" >&2; exit 1; }

cp -r models tests/bench tests/peers "$work/"
rm -rf "$work"/*/__pycache__
mv "$work/models" "$top/"
mkdir "$top/tests/bench" "$top/tests/peers" "$top/tools"
cp "$work"/bench/*.py "$work"/bench/*.strata "$top/tests/bench/"
cp "$work"/peers/*.py "$top/tests/peers/"
cp tests/models/reference.py tests/models/tape.py "$top/tests/models/"
cp tests/gpu/*.py "$top/tests/gpu/"
[ ! -d tests/simt/kernels ] || { mkdir "$top/tests/simt" && cp -r tests/simt/kernels "$top/tests/simt/"; }
cp tools/*_gpu.sh tools/gpu_env.sh "$top/tools/"
cp docs/*.md "$top/docs/"
cp docs/archive.md "$top/README"
cp LICENSE "$top/"
git describe --always --dirty >"$top/COMMIT" 2>/dev/null || echo unknown >"$top/COMMIT"
for script in tools/*_gpu.sh; do
    name_of=$(basename "$script" _gpu.sh)-gpu.sh
    printf '#!/bin/sh\nexec "$(dirname "$0")/%s" . "$@"\n' "$script" >"$top/$name_of"
    chmod +x "$top/$name_of"
done
# What is trained on: the same text everywhere.
cat docs/*.md >"$top/tests/gpu/text"
[ -z "$trainer" ] || GPU_TEXT=$top/tests/gpu/text tools/test_gpu.sh --curve "$trainer" "$top/tests/gpu/cpu.jsonl"

tar -C "$work" --owner=0 --group=0 --sort=name -czf "$work/archive" "$name"
size=$(($(wc -c <"$work/archive") / 1000000))
[ "$size" -lt "${DIST_MB:-50}" ] || { echo "dist: the archive has $size MB" >&2; exit 1; }
mv "$work/archive" "$out/$name.tar.gz"
echo "$out/$name.tar.gz"
