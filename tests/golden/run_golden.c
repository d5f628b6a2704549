// run_golden.c: what the compiler says about whole files, kept as text.
//     run_golden [--update] DIRECTORY
// The directory has a folder a stage. There every NAME.strata stands beside NAME.EXT, the text
// that the stage must give for it, byte for byte; --update writes it. A folder in a folder
// holds modules for the files to import. A new stage is a row of `stages`; a new step that can
// find errors is a row of `steps`.
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "frontend/ast_to_graph.h"
#include "frontend/modules.h"
#include "frontend/source_to_ast.h"

// One file on its way through the compiler.
typedef struct {
    Arena arena;
    Diag diag;
    Str path;
    AstProgram *program;
    Graph *graph;
} Case;

// ---- Steps: each false when diag has errors ----

static bool step_parse(Case *c) {
    const Str library = STR("../../models");
    return modules_load(&c->diag, &c->arena, c->path, (SearchPath){&library, 1}, &c->program);
}

// Settings as after --set: the first line of a file may be "# set: NAME=VALUE NAME=VALUE".
static Settings settings_of(Case *c) {
    Vec(Setting) found = {0};
    const Str mark = STR("# set:");
    Str text = diag_source(&c->diag, c->program->root->file)->text;
    const char *end = str_starts(text, mark) ? memchr(text.ptr, '\n', text.len) : NULL;
    const char *at = text.ptr + mark.len;
    while (end != NULL && at < end) {
        const size_t space = strspn(at, " \n");
        const size_t name = strcspn(at + space, " =\n");
        const size_t value = strcspn(at + space + name, " \n");
        if (value > 0)
            vec_push(&c->arena, &found,
                     (Setting){{at + space, name}, {at + space + name + 1, value - 1}});
        at += space + name + value;
    }
    return (Settings){found.ptr, found.len};
}

static bool step_elaborate(Case *c) {
    Elaboration *e = NULL;
    if (!ast_to_graph(&c->diag, &c->arena, c->program, settings_of(c), &e)) return false;
    c->graph = elaboration_graph(e);
    return true;
}

// ---- Stages: each false, with the reason in diag, when there is no text ----

// One file alone: its imports are not looked for.
static bool stage_ast(Case *c, StrBuf *out) {
    AstModule *module, *again;
    Str text;
    if (!io_read(&c->diag, &c->arena, c->path, &text)) return false;
    if (!source_to_ast(&c->diag, &c->arena, diag_source_add(&c->diag, c->path, text), &module))
        return false;
    ast_print(module, out);
    StrBuf twice = {0};
    const uint32_t file = diag_source_add(&c->diag, STR("printed"), strbuf_view(out));
    bool ok = source_to_ast(&c->diag, &c->arena, file, &again);
    if (ok) ast_print(again, &twice);
    if (ok && !str_eq(strbuf_view(out), strbuf_view(&twice)))
        ok = diag_file_error(&c->diag, FAIL_INPUT, c->path,
                             "the printed tree prints differently when it is read back");
    strbuf_release(&twice);
    return ok;
}

// The first step that fails ends it: a file is here for its errors.
static bool stage_errors(Case *c, StrBuf *out) {
    static bool (*const steps[])(Case * c) = {step_parse, step_elaborate};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof steps / sizeof *steps; i++)
        ok = steps[i](c);
    if (ok)
        return diag_file_error(&c->diag, FAIL_INPUT, c->path,
                               "no error was found in this file");
    diag_render(&c->diag, out);
    return true;
}

static bool stage_graph(Case *c, StrBuf *out) {
    if (!step_parse(c) || !step_elaborate(c) || !graph_verify(&c->diag, c->graph)) return false;
    graph_print(c->graph, out);
    return true;
}

typedef struct {
    const char *folder, *extension;
    bool (*run)(Case *c, StrBuf *out);
} Stage;

static const Stage stages[] = {
    {"ast", "ast", stage_ast},
    {"errors", "err", stage_errors},
    {"semantics", "err", stage_errors},
    {"graph", "graph", stage_graph},
};

// ---- Running ----

typedef struct {
    bool update;
    uint32_t passed, failed;
} Run;

static Str line_take(Str *text) {
    const char *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    const Str line = {text->ptr, end ? (size_t)(end - text->ptr) : text->len};
    const size_t used = line.len + (end != NULL);
    *text = (Str){text->ptr + used, text->len - used};
    return line;
}

static void print_difference(Str path, Str expected, Str got) {
    for (uint32_t line = 1; expected.len > 0 || got.len > 0; line++) {
        const Str e = line_take(&expected), g = line_take(&got);
        if (str_eq(e, g)) continue;
        printf("FAIL %.*s:%u\n  expected: %.*s\n  got:      %.*s\n", STR_ARG(path), line,
               STR_ARG(e), STR_ARG(g));
        return;
    }
    printf("FAIL %.*s: the texts differ in the newline at their end\n", STR_ARG(path));
}

static void print_errors(const Diag *diag) {
    StrBuf text = {0};
    diag_render(diag, &text);
    fwrite(text.ptr, 1, text.len, stdout);
    strbuf_release(&text);
}

static bool case_compare(Run *run, Case *c, Str golden, Str got) {
    Diag diag;
    diag_init(&diag, &c->arena);
    Str expected = {0};
    const bool known = io_exists(golden);
    if (known && !io_read(&diag, &c->arena, golden, &expected)) return false;
    if (known && str_eq(expected, got)) return true;
    if (!run->update) print_difference(golden, expected, got);
    return run->update && io_write(&diag, golden, got.ptr, got.len);
}

static bool case_run(Run *run, const Stage *stage, const char *path) {
    Case c = {.path = str_of(path)};
    diag_init(&c.diag, &c.arena);
    const int stem = (int)(strlen(path) - strlen("strata"));
    const Str golden = str_printf(&c.arena, "%.*s%s", stem, path, stage->extension);
    StrBuf got = {0};
    bool ok = stage->run(&c, &got);
    if (!ok) {
        printf("FAIL %s\n", path);
        print_errors(&c.diag);
    }
    ok = ok && case_compare(run, &c, golden, strbuf_view(&got));
    strbuf_release(&got);
    arena_release(&c.arena);
    return ok;
}

// glob sorts, so that the order is the same everywhere.
static void stage_run(Run *run, const Stage *stage) {
    char pattern[64];
    snprintf(pattern, sizeof pattern, "%s/*.strata", stage->folder);
    glob_t files;
    if (glob(pattern, 0, NULL, &files) != 0) {
        printf("FAIL %s: no files\n", pattern);
        run->failed++;
        return;
    }
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const bool ok = case_run(run, stage, files.gl_pathv[i]);
        run->passed += ok;
        run->failed += !ok;
    }
    globfree(&files);
}

int main(int argc, char **argv) {
    Run run = {.update = argc == 3 && strcmp(argv[1], "--update") == 0};
    if (argc != 2 + run.update || chdir(argv[argc - 1]) != 0) {
        fprintf(stderr, "usage: run_golden [--update] DIRECTORY\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        stage_run(&run, &stages[i]);
    printf("%u passed, %u failed\n", run.passed, run.failed);
    return run.failed > 0;
}
