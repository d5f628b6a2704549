# limits.awk: files of at most 800 lines, headers 300, functions 80 with 5 parameters.
# A function whose body is one switch is a table and may be longer: beside the switch it may have no more than
# six lines at the outermost level (declarations before it, a return or BUG after it).
# A foreign interface's parameters are as many as they are, which a comment for clang-tidy says.
# The scan relies on clang-format: what starts in column 0 and ends in "{" opens, "}" in column 0 closes.
# Usage: awk -f limits.awk FILE...
BEGIN { FILE_MAX = 800; HEADER_MAX = 300; FUNCTION_MAX = 80; PARAMETERS_MAX = 5; BESIDE_SWITCH = 6 }

function report(line, text) {
    printf "%s:%d: error: %s\n", name, line, text
    bad = 1
}

function close_file() {
    if (!name) return
    limit = name ~ /\.h$/ ? HEADER_MAX : FILE_MAX
    if (lines > limit) report(lines, lines " lines; the limit is " limit)
}

function close_function(line) {
    body = line - opened - 1
    is_table = switches == 1 && outermost <= BESIDE_SWITCH
    if (body > FUNCTION_MAX && !is_table) report(opened, body " lines in a function; the limit is " FUNCTION_MAX)
    inside = 0
}

function parameters(head,    i, c, depth, count) {
    head = substr(head, index(head, "("))
    if (head ~ /^\((void)?\)/) return 0
    for (i = count = 1; i <= length(head); i++) {
        c = substr(head, i, 1)
        if (c == "(") depth++
        if (c == ")" && --depth == 0) break
        if (c == "," && depth == 1) count++
    }
    return count
}

function check_head(head, line,    count) {
    count = parameters(head)
    if (count > PARAMETERS_MAX && !foreign)
        report(line, count " parameters; the limit is " PARAMETERS_MAX)
    foreign = 0
}

FNR == 1 {
    close_file()
    name = FILENAME
    is_c = name ~ /\.[ch]$/
    inside = 0
    head = ""
}

{ lines = FNR }

!is_c { next }

inside {
    if ($0 ~ /^}/) close_function(FNR)
    else if ($0 ~ /^    switch \(/) switches++
    else if ($0 ~ /^    [^ }]/ && $0 !~ /^    (case|default)[ :]/ && $0 !~ /^    \/\//) outermost++
    next
}

# The head of a definition may run over several lines, which are then indented.
/^[A-Za-z_]/ { head = "" }
/^\/\/ NOLINTNEXTLINE\(readability-function-size\)/ { foreign = 1 }
/^(#|\/\/|})/ { head = ""; next }
{ head = head " " $0 }
head ~ /^ [A-Za-z_][^=]*\) \{.*\}$/ { check_head(head, FNR) }
/[;}]$/ { head = ""; next }
/\{$/ {
    if (head ~ /\(/ && head !~ /= *\{$/ && head !~ /^ *(struct|enum|union|typedef)[^(]*\{$/) {
        inside = 1
        opened = FNR
        switches = outermost = 0
        check_head(head, FNR)
    }
    head = ""
}

END { close_file(); exit bad }
