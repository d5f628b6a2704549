#!/bin/sh
# headers.sh CC FLAG... -- HEADER...: each header compiles alone, and twice in one file.
set -u
command=''
while [ "$1" != -- ]; do
    command="$command $1"
    shift
done
shift
bad=0
for header; do
    printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
        $command -fsyntax-only -x c - || { echo "$header: error: does not compile alone"; bad=1; }
done
exit $bad
