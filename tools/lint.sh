#!/bin/bash
# lint.sh: the slow static checks, over the tracked C files: layout, clang's warnings, clang-tidy, cppcheck.
# It needs build/dev (for compile_commands.json). clang-tidy takes eight minutes on two cores; what it
# has found clean is not looked at again until its text, an included one or the checks change (build/lint).
set -uo pipefail
cd "$(dirname "$0")/.." || exit
failed=()

mapfile -t files < <(git ls-files '*.c' '*.h')
clang-format --dry-run -Werror "${files[@]}" || failed+=(clang-format)

# clang warns of other things than gcc does: of what the fuzz targets need.
{ [ -e build/fuzz/build.ninja ] || cmake --preset fuzz >/dev/null; } &&
    cmake --build --preset fuzz --target fuzzers -j "$(nproc)" >build/fuzz/lint.log ||
    { grep -A 3 'error:' build/fuzz/lint.log; failed+=(clang); }

# Only what the build compiles can be analysed: a line of its command, then one of its file.
commands() {
    awk -v root="$PWD/" '
        /^  "command": / {
            command = substr($0, 15, length($0) - 16)
            gsub(/\\\\/, "\\", command)
            gsub(/\\"/, "\"", command)
        }
        /^  "file": / {
            file = substr($0, 12, length($0) - 12)
            if (index(file, root) == 1) file = substr(file, length(root) + 1)
            if (file !~ /^(\/|build\/)/ && !seen[file]++) print command "\n" file
        }' build/dev/compile_commands.json
}

# tidy COMMAND FILE
tidy() {
    stamp=build/lint/$({ cat .clang-tidy; clang-tidy --version; eval "${1%% -o *} -E -P -CC $2"; } |
        sha256sum | cut -c 1-32)
    [ -e "$stamp" ] || {
        clang-tidy --quiet -p build/dev --extra-arg=-Wno-unknown-warning-option "$2" && touch "$stamp"
    }
}

mkdir -p build/lint
export -f tidy
commands | xargs -d '\n' -P "$(nproc)" -n 2 bash -c 'tidy "$0" "$1"' \
    2> >(grep -v 'warnings\? generated' >&2) || failed+=(clang-tidy)
mapfile -t sources < <(commands | sed -n 'n;p')

# The noreturn of base/attr.h is only seen with __GNUC__. cppcheck 2.10 cannot parse some X-macro tables
# (internalAstError).
cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --language=c -j "$(nproc)" \
    --enable=warning,performance,portability --suppress=missingIncludeSystem --suppress=internalAstError \
    -I . -D_GNU_SOURCE -D__GNUC__=12 -DSTRATA_HAVE_JANSSON "${sources[@]}" || failed+=(cppcheck)

if [ ${#failed[@]} -gt 0 ]; then
    echo "lint: failed: ${failed[*]}" >&2
    exit 1
fi
echo "lint: ${#files[@]} files clean"
