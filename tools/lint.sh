#!/bin/bash
# lint.sh: the slow static checks, over the tracked C files: layout, clang-tidy, cppcheck.
# It needs build/dev (for compile_commands.json).
set -uo pipefail
cd "$(dirname "$0")/.." || exit
failed=()

mapfile -t files < <(git ls-files '*.c' '*.h')
clang-format --dry-run -Werror "${files[@]}" || failed+=(clang-format)

# Only what the build compiles can be analysed.
mapfile -t sources < <(git ls-files '*.c' | while read -r file; do
    grep -q "/$file\"" build/dev/compile_commands.json && echo "$file"
done)
printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 4 \
    clang-tidy --quiet -p build/dev --extra-arg=-Wno-unknown-warning-option \
    2> >(grep -v 'warnings\? generated' >&2) || failed+=(clang-tidy)

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
