// tensors.c: what the tests of the command line need besides a shell.
//     tensors make FILE NAME:TYPE:SHAPE:FILL...   SHAPE 2x16, or "scalar"; FILL a number, nan,
//     or
//                                                 below256 for random whole numbers
//     tensors compare A B TOLERANCE               same tensors, values within TOLERANCE of the
//                                                 largest of their tensor
//     tensors within A B TOLERANCE                the same of B's tensors, of which A may have
//     more tensors json KEY...                         stdin is one JSON object that has the
//     keys tensors list FILE                           names, one a line
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "runtime/safetensors.h"

typedef struct {
    Diag diag;
    Arena arena;
} Tool;

static bool fail(Tool *t, const char *what) {
    return diag_fail(&t->diag, FAIL_INPUT, "%s", what);
}

// ---- make

static Str next_part(Str *rest, char separator) {
    const char *end = memchr(rest->ptr, separator, rest->len);
    size_t n = end ? (size_t)(end - rest->ptr) : rest->len;
    Str part = {rest->ptr, n};
    n += end != NULL;
    *rest = (Str){rest->ptr + n, rest->len - n};
    return part;
}

static void fill(DType type, void *data, int64_t n, Str how) {
    int64_t below = 0;
    double x = 0;
    bool random =
        str_starts(how, STR("below")) && str_to_int64((Str){how.ptr + 5, how.len - 5}, &below);
    if (!random && !str_to_double(how, &x)) x = NAN;
    for (int64_t i = 0; i < n; i++)
        dtype_set(type, data, i,
                  random ? floor(rng_uniform(7, (uint64_t)i) * (double)below) : x);
}

static bool make_one(Tool *t, Str text, StoredTensor *out) {
    int64_t *shape = arena_array(&t->arena, int64_t, 8), n = 1;
    *out = (StoredTensor){.name = next_part(&text, ':'), .shape = shape};
    if (!dtype_parse(next_part(&text, ':'), &out->type)) return fail(t, "unknown type");
    Str sizes = next_part(&text, ':');
    if (!str_eq(sizes, STR("scalar")))
        while (sizes.len && out->rank < 8) {
            if (!str_to_int64(next_part(&sizes, 'x'), &shape[out->rank]))
                return fail(t, "bad shape");
            n *= shape[out->rank++];
        }
    void *data = arena_alloc(&t->arena, (size_t)n, dtype_bytes(out->type));
    fill(out->type, data, n, text);
    out->data = data;
    return true;
}

static bool make(Tool *t, int argc, char **argv) {
    TensorFile file = {.path = str_of(argv[0])};
    file.tensors = arena_array(&t->arena, StoredTensor, argc);
    for (int i = 1; i < argc; i++)
        if (!make_one(t, str_of(argv[i]), &file.tensors[file.tensor_count++])) return false;
    return safetensors_write(&t->diag, &file);
}

// ---- compare

static bool compare_one(Tool *t, const StoredTensor *a, const StoredTensor *b,
                        double tolerance) {
    int64_t n = stored_count(a);
    if (!b || stored_count(b) != n) return fail(t, "a tensor is missing or has another shape");
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = dtype_get(a->type, a->data, i), y = dtype_get(b->type, b->data, i);
        largest = fmax(largest, fabs(x));
        worst = fmax(worst, fabs(x - y));
        if (isnan(x) || isnan(y)) return fail(t, "NaN");
    }
    if (worst <= tolerance * (largest + 1e-6)) return true;
    return diag_fail(&t->diag, FAIL_INPUT, "%.*s differs by %g of %g", STR_ARG(a->name), worst,
                     largest);
}

static bool compare(Tool *t, char **argv, bool whole) {
    TensorFile a, b;
    double tolerance = 0;
    if (!safetensors_open(&t->diag, &t->arena, str_of(argv[0]), &a)) return false;
    bool good = str_to_double(str_of(argv[2]), &tolerance) &&
                safetensors_open(&t->diag, &t->arena, str_of(argv[1]), &b);
    if (good && whole && a.tensor_count != b.tensor_count) good = fail(t, "other tensors");
    for (uint32_t i = 0; good && i < b.tensor_count; i++)
        good =
            compare_one(t, &b.tensors[i], safetensors_find(&a, b.tensors[i].name), tolerance);
    // The mappings go with the process.
    return good;
}

static bool list(Tool *t, char **argv) {
    TensorFile file;
    if (!safetensors_open(&t->diag, &t->arena, str_of(argv[0]), &file)) return false;
    for (uint32_t i = 0; i < file.tensor_count; i++)
        printf("%.*s\n", STR_ARG(file.tensors[i].name));
    safetensors_close(&file);
    return true;
}

// ---- json

static bool json(Tool *t, int argc, char **argv) {
    StrBuf text = {0};
    char block[4096];
    for (size_t n = fread(block, 1, sizeof block, stdin); n;
         n = fread(block, 1, sizeof block, stdin))
        strbuf_add(&text, (Str){block, n});
    Json *object;
    bool good = json_parse(&t->diag, &t->arena, STR("stdin"), strbuf_view(&text), &object);
    if (good && object->kind != JSON_OBJECT) good = fail(t, "not an object");
    for (int i = 0; good && i < argc; i++)
        if (!json_get(object, argv[i]))
            good = diag_fail(&t->diag, FAIL_INPUT, "there is no key '%s'", argv[i]);
    strbuf_release(&text);
    return good;
}

int main(int argc, char **argv) {
    Tool t = {0};
    diag_init(&t.diag, &t.arena);
    const char *verb = argc > 1 ? argv[1] : "";
    bool good = !strcmp(verb, "make") && argc > 2      ? make(&t, argc - 2, argv + 2)
                : !strcmp(verb, "compare") && argc > 4 ? compare(&t, argv + 2, true)
                : !strcmp(verb, "within") && argc > 4  ? compare(&t, argv + 2, false)
                : !strcmp(verb, "list") && argc > 2    ? list(&t, argv + 2)
                : !strcmp(verb, "json")                ? json(&t, argc - 2, argv + 2)
                                                       : fail(&t, "bad arguments");
    StrBuf text = {0};
    diag_render(&t.diag, &text);
    if (text.len) fputs(text.ptr, stderr);
    strbuf_release(&text);
    arena_release(&t.arena);
    return good ? 0 : 1;
}
