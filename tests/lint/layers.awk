# layers.awk: includes go one way, and are written from the repository root.
# Usage: awk -f layers.awk FILE..., in the root, file names without a leading "./".
BEGIN {
    allowed["base"] = "base"
    allowed["ir"] = "ir base"
    allowed["frontend"] = "frontend ir base"
    allowed["codegen"] = "codegen ir base"
    allowed["runtime"] = "runtime base"
    allowed["autotune"] = "autotune codegen ir runtime base"
    allowed["cli"] = "cli frontend autotune codegen runtime ir base"
    allowed["tests"] = "tests cli frontend autotune codegen runtime ir base"
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, quoted, "\"")
    split(FILENAME, path, "/")
    split(quoted[2], target, "/")
    if (index(" " allowed[path[1]] " ", " " target[1] " ")) next
    printf "%s:%d: error: %s may include %s, not \"%s\"\n", FILENAME, FNR, path[1], allowed[path[1]], quoted[2]
    bad = 1
}

END { exit bad }
