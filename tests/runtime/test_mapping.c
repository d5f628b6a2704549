// test_mapping.c: sizes and names of mappings; an import or export that is stopped leaves
// nothing. What mappings do is tested through the command line (tests/cli/mapping.sh,
// tests/models/compare_mapping.py).
#include <stdlib.h>
#include <unistd.h>

#include "runtime/mapping_run.h"
#include "runtime/name_pattern.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    char folder[32];
    volatile sig_atomic_t stop;
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    snprintf(f->folder, sizeof f->folder, "/tmp/strata-map-XXXXXX");
    *state = f;
    return !mkdtemp(f->folder);
}

static Str in_folder(Fixture *f, const char *name) {
    return str_printf(&f->arena, "%s/%s", f->folder, name);
}

static int teardown(void **state) {
    Fixture *f = *state;
    unlink(in_folder(f, "theirs").ptr);
    int failed = rmdir(f->folder);  // fails if anything else was left
    arena_release(&f->arena);
    test_free(f);
    return failed;
}

// -1: an error, which says why.
static int64_t value(Fixture *f, const char *text) {
    static const SizeName inner[] = {{.name = {"h", 1}, .value = 3}};
    static const SizeName outer[] = {{.name = {"h", 1}, .value = 99},
                                     {.name = {"d_k", 3}, .value = 5},
                                     {.name = {"e", 1}, .ambiguous = true}};
    Sizes far = {.items = outer, .count = 3},
          near = {.items = inner, .count = 1, .outer = &far};
    int64_t x;
    Str why = {0};
    bool ok = size_evaluate(&f->arena, str_of(text), &near, &x, &why);
    assert_int_equal(ok, !why.len);
    return ok ? x : -1;
}

static void sizes_are_sums_and_products(void **state) {
    Fixture *f = *state;
    assert_int_equal(value(f, "7"), 7);
    assert_int_equal(value(f, " h * ( d_k+2 ) "), 21);
    assert_int_equal(value(f, "2 + h * d_k - 1"), 16);
    assert_int_equal(value(f, "10 - 3 - 4"), 3);
    assert_int_equal(value(f, "0 * 9007199254740992"), 0);
    static const char *const wrong[] = {"",
                                        "h h",
                                        "(h",
                                        "h)",
                                        "-1",
                                        "1 - 2",
                                        "e",
                                        "q",
                                        "3h",
                                        "h **2",
                                        "h +",
                                        "1.5",
                                        "9007199254740993",
                                        "h d_k"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(value(f, wrong[i]), -1);
    char deep[201];
    memset(deep, '(', 200);
    deep[200] = 0;
    assert_int_equal(value(f, deep), -1);
}

static bool matches(const char *pattern, const char *text) {
    Placeholders numbers;
    return pattern_match(str_of(pattern), str_of(text), &numbers);
}

static void patterns_match_numbers(void **state) {
    Fixture *f = *state;
    Placeholders n;
    assert_true(pattern_match(STR("a.{i}.b{k}"), STR("a.10.b0"), &n));
    assert_int_equal(n.count, 2);
    assert_int_equal(n.items[0].value, 10);
    assert_int_equal(n.items[1].value, 0);
    assert_true(matches("{i}.{i}", "3.3"));
    assert_false(matches("{i}.{i}", "3.4"));
    assert_false(matches("a.{i}", "a."));
    assert_false(matches("a.{i}", "a.01"));
    assert_false(matches("a.{i}", "a.1b"));
    assert_false(matches("a.{i}", "a.1234567890123456"));
    assert_true(matches("*.b.*c", "a.b.xc.b.c"));
    assert_false(matches("*.b", "a.b.c"));
    assert_true(matches("*", ""));
    Sizes sizes = {.items = n.items, .count = n.count};
    Str out, why;
    assert_true(pattern_expand(&f->arena, STR("x{i+1}.{k}{2}"), &sizes, &out, &why));
    assert_true(str_eq(out, STR("x11.02")));
    assert_false(pattern_expand(&f->arena, STR("x{j}"), &sizes, &out, &why));
}

// ---- stopping

static const int64_t shape[] = {2, 3};
static const Str axes[] = {{"a", 1}, {"b", 1}};
static const PlanTensor ours[] = {
    {.name = {"v", 1}, .rank = 2, .shape = shape, .axes = axes},
    {.name = {"w", 1}, .rank = 2, .shape = shape, .axes = axes},
};

static void make_plan(Fixture *f, Mapping *mapping, MapPlan *plan) {
    Str text = STR(
        "{\"rules\": [{\"ours\": \"v\", \"name\": \"v\"}, {\"ours\": \"w\", \"name\": \"w\"}]}");
    assert_true(mapping_parse(&f->diag, &f->arena, STR("map"), text, mapping));
    *plan = (MapPlan){.mapping = mapping, .ours = ours, .our_count = 2};
    assert_true(map_plan_make(&f->diag, &f->arena, plan));
}

static void write_theirs(Fixture *f) {
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    StoredTensor tensors[] = {stored_of(&ours[0], data), stored_of(&ours[1], data)};
    TensorFile file = {.path = in_folder(f, "theirs"), .tensors = tensors, .tensor_count = 2};
    assert_true(safetensors_write(&f->diag, &file));
}

// A signal that comes while the work is under way.
static void interrupt(void *context, int64_t done, int64_t total) {
    Fixture *f = context;
    assert_true(done <= total);
    f->stop = 1;
}

static void import_stops(void **state) {
    Fixture *f = *state;
    Mapping mapping;
    MapPlan plan;
    MapReport report;
    Sharded from;
    write_theirs(f);
    make_plan(f, &mapping, &plan);
    assert_true(sharded_open(&f->diag, &f->arena, in_folder(f, "theirs"), &from));
    ImportRequest request = {.plan = &plan, .from = &from, .out = in_folder(f, "p")};
    request.watch = (MapWatch){&f->stop, interrupt, f};
    assert_false(mapping_import(&f->diag, &request, &report));
    assert_int_equal(f->diag.fail, FAIL_INTERRUPTED);
    sharded_close(&from);
}

static void export_stops(void **state) {
    Fixture *f = *state;
    Mapping mapping;
    MapPlan plan;
    MapReport report;
    TensorFile params;
    write_theirs(f);
    make_plan(f, &mapping, &plan);
    assert_true(safetensors_open(&f->diag, &f->arena, in_folder(f, "theirs"), &params));
    // A file is whole when the signal comes, and goes as well.
    ExportRequest request = {
        .plan = &plan, .params = &params, .out = in_folder(f, "d"), .shard_bytes = 1};
    request.watch = (MapWatch){&f->stop, interrupt, f};
    assert_false(mapping_export(&f->diag, &request, &report));
    assert_int_equal(f->diag.fail, FAIL_INTERRUPTED);
    safetensors_close(&params);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sizes_are_sums_and_products, setup, teardown),
        cmocka_unit_test_setup_teardown(patterns_match_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(import_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(export_stops, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
