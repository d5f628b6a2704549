#!/bin/sh
# compare.sh SCRIPT [ARGUMENT...]: a Python script of this folder. Exit 77, which ctest counts as skipped, where no
# interpreter with NumPy is found.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
script=$1
shift
export PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

# Debian's own interpreter is the one that python3-numpy belongs to.
for python in /usr/bin/python3 python3; do
    "$python" -c 'import numpy' 2>/dev/null || continue
    exec "$python" "$here/$script" "$@"
done
echo "skipped: the comparison needs NumPy (Debian: python3-numpy)"
exit 77
