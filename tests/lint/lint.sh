#!/bin/sh
# lint.sh CHECK [ROOT] [CC FLAG...]: runs one of the checks beside this file over the sources under ROOT.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
check=$1
cd "${2:-$here/../..}"
[ $# -lt 2 ] || shift
shift

folders=$(ls -d base ir frontend codegen autotune runtime cli models tests tools 2>/dev/null || true)

# No file name in this repository has a blank in it.
sources() {
    find $folders -type f \( -false "$@" \) ! -path '*/__pycache__/*' | LC_ALL=C sort
}

case $check in
layers) exec awk -f "$here/layers.awk" $(sources -o -name '*.c' -o -name '*.h') ;;
limits) exec awk -f "$here/limits.awk" $(sources -o -name '*.[ch]' -o -name '*.py' -o -name '*.strata' -o -name '*.sh') ;;
banned) exec awk -f "$here/banned.awk" $(sources -o -name '*.[ch]') ;;
headers) exec sh "$here/headers.sh" "$@" -- $(sources -o -name '*.h') ;;
*)
    echo "lint.sh: no check called $check" >&2
    exit 2
    ;;
esac
