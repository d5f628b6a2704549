#!/bin/sh
# deps.sh GROUP...: installs the Debian packages of the groups (build, demo, lint, fuzz) that are missing.
# Silent, and without touching the network, when nothing is. Without the rights to install, it prints the
# command that somebody with them can run, and exits 3.
set -eu

# group, package, and a program or file that shows that it is there
table='
build gcc            cc
build libc6-dev      /usr/include/stdio.h
build cmake          cmake
build ninja-build    ninja
build llvm-19-dev    /usr/lib/llvm-19/include/llvm-c/LLJIT.h
build libsqlite3-dev /usr/include/sqlite3.h
build libjansson-dev /usr/include/jansson.h
build libcmocka-dev  /usr/include/cmocka.h
build libdnnl-dev    /usr/include/oneapi/dnnl/dnnl.h
build gnuplot-nox    gnuplot
build python3-numpy  /usr/lib/python3/dist-packages/numpy/__init__.py
demo  bible-kjv      bible
lint  clang-format   clang-format
lint  clang-tidy     clang-tidy
lint  cppcheck       cppcheck
fuzz  clang          clang
fuzz  libclang-rt-14-dev /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a
'

present() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

missing=$(echo "$table" | while read -r group package probe; do
    case " $* " in
    *" ${group:-none} "*) present "$probe" || printf ' %s' "$package" ;;
    esac
done)
[ -n "$missing" ] || exit 0

command="apt-get update && apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null; then
    echo "deps: this system has no apt-get; it lacks what Debian 12 calls:$missing" >&2
    exit 3
elif [ "$(id -u)" = 0 ]; then
    as_root=''
elif sudo -n true 2>/dev/null; then
    as_root=sudo
else
    echo "deps: some packages are missing. Run this as root, then try again:" >&2
    echo "    $command" >&2
    exit 3
fi
echo "deps: installing$missing" >&2
$as_root env DEBIAN_FRONTEND=noninteractive sh -c "$(echo "$command" | sed 's/apt-get/apt-get -qq/g')" >&2
