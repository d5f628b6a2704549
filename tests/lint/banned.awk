# banned.awk: functions that nobody may call, and the allocator outside the folders that own memory.
# Usage: awk -f banned.awk FILE..., in the root.
BEGIN {
    everywhere = "strcpy strcat sprintf vsprintf strtok atoi atol atof gets"
    allocator = "malloc calloc realloc free"
}

function check(names, why,    list, n, i) {
    n = split(names, list, " ")
    for (i = 1; i <= n; i++) {
        if (text !~ "(^|[^A-Za-z0-9_.>])" list[i] " *\\(") continue
        printf "%s:%d: error: %s is banned%s\n", FILENAME, FNR, list[i], why
        bad = 1
    }
}

{
    text = $0
    gsub(/\\\\/, "", text)
    gsub(/\\"/, "", text)
    gsub(/"[^"]*"/, "\"\"", text)
    sub(/\/\/.*/, "", text)
    check(everywhere, "")
    if (FILENAME !~ /^(base|runtime|codegen\/llvm|tests)\//) check(allocator, " here; use an arena")
}

END { exit bad }
