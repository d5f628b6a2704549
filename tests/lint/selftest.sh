#!/bin/sh
# selftest.sh: each check finds what it is for, and passes what is allowed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root/base" "$root/ir" "$root/runtime"
failures=0

# expect STATUS CHECK WHAT: the check on the tree as it is now.
expect() {
    status=0
    sh "$here/lint.sh" "$2" "$root" cc -std=c17 -I. >"$root/output" 2>&1 || status=$?
    [ "$status" = "$1" ] && return
    echo "selftest: $3: status $status instead of $1"
    cat "$root/output"
    failures=$((failures + 1))
}

# repeat N TEXT
repeat() {
    i=0
    while [ $i -lt "$1" ]; do
        echo "$2"
        i=$((i + 1))
    done
}

echo 'int base_thing(void);' >"$root/base/thing.h"
echo '#include "base/thing.h"' >"$root/ir/use.c"
expect 0 layers 'ir includes base'
echo '#include "ir/use.h"' >"$root/runtime/use.c"
expect 1 layers 'runtime includes ir'
echo '#include "thing.h"' >"$root/runtime/use.c"
expect 1 layers 'not from the root'
rm "$root/runtime/use.c"

{ echo 'static int f(int x,'; echo '             int y) {'; repeat 80 '    x += y;'; echo '}'; } >"$root/ir/f.c"
expect 0 limits 'function of 80 lines'
{ echo 'static int f(int x,'; echo '             int y) {'; repeat 81 '    x += y;'; echo '}'; } >"$root/ir/f.c"
expect 1 limits 'function of 81 lines'
{ echo 'int f(int x) {'; echo '    switch (x) {'; repeat 99 '    case 1: return 1;'; echo '    }'; echo '    return 0;'; echo '}'; } >"$root/ir/f.c"
expect 0 limits 'a switch of 99 cases'
{ echo 'static const int table[] = {'; repeat 99 '    f(1),'; echo '};'; } >"$root/ir/f.c"
expect 0 limits 'a table of 99 rows'
echo 'int f(int a, int (*b)(int, int), int c, int d, int e) { return b(a, c) + d + e; }' >"$root/ir/f.c"
expect 0 limits 'a function of 5 parameters'
{ echo 'int f(int a, int b, int c,'; echo '      int d, int e, int f) {'; echo '}'; } >"$root/ir/f.c"
expect 1 limits 'a function of 6 parameters'
echo 'int f(int a, int b, int c, int d, int e, int f) { return a + b + c + d + e + f; }' >"$root/ir/f.c"
expect 1 limits 'a line of 6 parameters'
{ echo '// NOLINTNEXTLINE(readability-function-size): the driver has them'; cat "$root/ir/f.c"; } >"$root/ir/g.c"
mv "$root/ir/g.c" "$root/ir/f.c"
expect 0 limits "a driver's function of 6 parameters"
repeat 800 '// line' >"$root/ir/f.c"
expect 0 limits 'file of 800 lines'
repeat 801 '// line' >"$root/ir/f.c"
expect 1 limits 'file of 801 lines'
rm "$root/ir/f.c"
repeat 301 '// line' >"$root/ir/f.h"
expect 1 limits 'header of 301 lines'
rm "$root/ir/f.h"

echo '    char *p = strndup("free(", 3);  // not strcpy(p, q)' >"$root/ir/f.c"
expect 0 banned 'names in text and comments'
echo '    strcpy(p, q);' >"$root/ir/f.c"
expect 1 banned 'strcpy'
echo '    free(p);' >"$root/ir/f.c"
expect 1 banned 'free in ir'
mv "$root/ir/f.c" "$root/base/f.c"
expect 0 banned 'free in base'

expect 0 headers 'a header that is complete'
echo 'Thing other_thing(void);' >"$root/base/other.h"
expect 1 headers 'a header that lacks a type'

[ $failures = 0 ]
