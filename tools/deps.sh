#!/bin/sh
# deps.sh GROUP...: installs the Debian packages of the groups (build, demo, lint, fuzz) that are missing.
# Silent, and without touching the network, when nothing is. Without the rights to install, it prints the
# command that somebody with them can run, and exits 3.
# The group cuda brings NVRTC, which compiles kernels for CUDA, also on machines without a GPU: a Python wheel is
# unpacked where strata looks for it. Strata does without, so a failure is only said.
set -eu

# group, package, and a program or file that shows that it is there
table='
build gcc            cc
build g++            g++
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

nvrtc_folder=${XDG_CACHE_HOME:-$HOME/.cache}/strata/nvrtc

# Where codegen/cuda/nvrtc.c looks.
nvrtc_present() {
    [ -z "${STRATA_NVRTC:-}" ] || return 0
    ldconfig -p 2>/dev/null | grep -q 'libnvrtc\.so' && return 0
    for library in /usr/local/cuda*/lib64/libnvrtc.so* /usr/lib/x86_64-linux-gnu/libnvrtc.so* "$nvrtc_folder"/libnvrtc.so*; do
        [ ! -e "$library" ] || return 0
    done
    return 1
}

nvrtc_fetch() {
    work=$(mktemp -d) || return 1
    echo "deps: fetching NVRTC (58 MB) into $nvrtc_folder" >&2
    python3 -m pip download -q --no-deps --only-binary=:all: --retries 1 --timeout 15 -d "$work" \
        'nvidia-cuda-nvrtc>=13,<14' >&2 &&
        python3 -m zipfile -e "$work"/nvidia_cuda_nvrtc-*.whl "$work" &&
        mkdir -p "$nvrtc_folder" && mv -f "$work"/nvidia/*/lib/libnvrtc* "$nvrtc_folder/"
    status=$?
    rm -rf "$work"
    return $status
}

# install PACKAGE...: 3 if that cannot be done here.
install() {
    command="apt-get update && apt-get install -y --no-install-recommends $*"
    if ! command -v apt-get >/dev/null; then
        echo "deps: this system has no apt-get; it lacks what Debian 12 calls: $*" >&2
        return 3
    elif [ "$(id -u)" = 0 ]; then
        as_root=''
    elif sudo -n true 2>/dev/null; then
        as_root=sudo
    else
        echo "deps: some packages are missing. Run this as root, then try again:" >&2
        echo "    $command" >&2
        return 3
    fi
    echo "deps: installing $*" >&2
    $as_root env DEBIAN_FRONTEND=noninteractive sh -c "$(echo "$command" | sed 's/apt-get/apt-get -qq/g')" >&2
}

missing=$(echo "$table" | while read -r group package probe; do
    case " $* " in
    *" ${group:-none} "*) present "$probe" || printf ' %s' "$package" ;;
    esac
done)
# shellcheck disable=SC2086 # a list of names
[ -z "$missing" ] || install $missing

case " $* " in
*' cuda '*)
    nvrtc_present || { { python3 -m pip --version >/dev/null 2>&1 || install python3-pip; } && nvrtc_fetch; } ||
        echo "deps: no NVRTC; kernels for CUDA cannot be compiled here (pip download nvidia-cuda-nvrtc failed)" >&2
    ;;
esac
