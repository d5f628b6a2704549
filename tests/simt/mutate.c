// mutate.c: see mutate.h.
#include "tests/simt/mutate.h"

#include "tests/test.h"

static Str replace(Arena *arena, Str text, const char *from, const char *to) {
    Str copy = str_copy(arena, text);
    const char *at = strstr(copy.ptr, from);
    if (!at) fail_msg("no '%s' to plant a bug at in:\n%s", from, copy.ptr);
    return str_printf(arena, "%.*s%s%s", (int)(at - copy.ptr), copy.ptr, to, at + strlen(from));
}

Str mutation_apply(Arena *arena, Str text, const Mutation *mutation) {
    text = replace(arena, text, mutation->from, mutation->to);
    if (mutation->and_from) text = replace(arena, text, mutation->and_from, mutation->and_to);
    return text;
}

bool mutation_noticed(const Mutation *mutation, const Diag *diag, bool passed, bool right) {
    const char *report = mutation->report;
    bool wrong = report && strcmp(report, "wrong") == 0;
    if (passed && !right && (!report || wrong)) return true;
    StrBuf out = {0};
    diag_render(diag, &out);
    const char *said = out.ptr ? out.ptr : right ? "nothing\n" : "wrong numbers\n";
    bool noticed = !passed && (!report || strstr(said, report));
    if (!noticed)
        print_error("'%s' -> '%s': expected %s, got %s", mutation->from, mutation->to,
                    report ? report : "anything", said);
    strbuf_release(&out);
    return noticed;
}
