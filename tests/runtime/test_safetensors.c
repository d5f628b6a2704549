// test_safetensors.c: files round-trip, convert and load; every way in which a file can be
// wrong has its own message.
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "base/rng.h"
#include "runtime/safetensors.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    char path[32];
    TensorFile file;
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    snprintf(f->path, sizeof f->path, "/tmp/strata-st-XXXXXX");
    int fd = mkstemp(f->path);
    if (fd >= 0) close(fd);
    *state = f;
    return fd < 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    unlink(f->path);
    safetensors_close(&f->file);
    arena_release(&f->arena);
    test_free(f);
    return 0;
}

static const int64_t shape_2_3[] = {2, 3}, shape_4[] = {4};
static const float floats[] = {1, -2, 0.5F, 3, 1e-8F, 65536};
static const int64_t longs[] = {0, 1, 255, 70000};
static const Str axes_2_3[] = {{"d", 1}, {"ff", 2}}, axes_4[] = {{"n", 1}};

// The file that most tests start from.
static void write_sample(Fixture *f) {
    StoredTensor tensors[] = {
        {.name = STR("w\"\xc3\xa9"),
         .type = DTYPE_F32,
         .rank = 2,
         .shape = shape_2_3,
         .data = floats},
        {.name = STR("n"), .type = DTYPE_I64, .rank = 1, .shape = shape_4, .data = longs},
        {.name = STR("s"), .type = DTYPE_F32, .rank = 0, .data = floats + 3},
    };
    StoredText metadata[] = {{STR("format"), STR("strata")}, {STR("step"), STR("12")}};
    TensorFile file = {.path = str_of(f->path),
                       .tensors = tensors,
                       .tensor_count = 3,
                       .metadata = metadata,
                       .metadata_count = 2};
    assert_true(safetensors_write(&f->diag, &file));
}

static void round_trips(void **state) {
    Fixture *f = *state;
    write_sample(f);
    assert_true(safetensors_open(&f->diag, &f->arena, str_of(f->path), &f->file));
    assert_int_equal(f->file.tensor_count, 3);
    const StoredTensor *w = safetensors_find(&f->file, STR("w\"\xc3\xa9"));
    assert_non_null(w);
    assert_int_equal(w->type, DTYPE_F32);
    assert_int_equal(w->rank, 2);
    assert_int_equal(w->shape[1], 3);
    assert_int_equal((uintptr_t)w->data % 64, 0);
    assert_memory_equal(w->data, floats, sizeof floats);
    const StoredTensor *s = safetensors_find(&f->file, STR("s"));
    assert_int_equal(s->rank, 0);
    assert_int_equal(stored_count(s), 1);
    assert_null(safetensors_find(&f->file, STR("w")));
    Str value;
    assert_true(safetensors_metadata(&f->file, "step", &value));
    assert_str(value, "12");
    assert_false(safetensors_metadata(&f->file, "none", &value));
}

static void leaves_the_target_when_writing_fails(void **state) {
    Fixture *f = *state;
    TensorFile file = {.path = STR("/nonexistent/x.safetensors")};
    assert_false(safetensors_write(&f->diag, &file));
    assert_diag_has(&f->diag, "/nonexistent/x.safetensors: error: cannot write");
    assert_int_equal(f->diag.fail, FAIL_ENVIRONMENT);
}

// ---- hostile files

static Str file_of(Arena *arena, Str header, size_t data_bytes) {
    size_t n = 8 + header.len + data_bytes;
    char *bytes = arena_alloc(arena, n, 1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(unsigned char)((uint64_t)header.len >> 8 * i);
    memcpy(bytes + 8, header.ptr, header.len);
    return (Str){bytes, n};
}

typedef struct {
    const char *header;
    size_t data_bytes;
    const char *message;  // after "x: error: "; NULL: accepted
} Case;

static const Case cases[] = {
    {"{}", 0, NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0,5],\"data_offsets\":[0,0]}}", 0, NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}  ",
     3, NULL},
    {"[]", 0, "no safetensors file: its header is no object"},
    {"{\"a\":3}", 0, "tensor 'a': it is described by no object"},
    {"{\"\":{}}", 0, "a tensor has no name that could be printed"},
    {"{\"\\u001b[2J\":{}}", 0, "a tensor has no name that could be printed"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 'a': it has no dtype"},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     "tensor 'a': dtype 'F8_E4M3' is not supported"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "tensor 'a': it has no shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
     "tensor 'a': an extent is no natural number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4,
     "tensor 'a': an extent is no natural number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
     "tensor 'a': its shape is too large"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]}}",
     0, "tensor 'a': its shape is too large"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
     4, "tensor 'a': it has too many axes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
     "tensor 'a': its data_offsets are not two rising natural numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
     "tensor 'a': its data_offsets are not two rising natural numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 4,
     "tensor 'a': its data reach past the end of the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
     "tensor 'a': its shape needs 8 bytes and its data_offsets give 4"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
     3, "tensor 'b': its data overlap those of another tensor"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
     3, "tensor 'b': there is a gap before its data"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 3,
     "2 bytes after the last tensor belong to nothing"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ entry 0 is no string"},
};

static void refuses_hostile_headers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena arena = {0};
        Diag diag;
        diag_init(&diag, &arena);
        TensorFile file;
        Str bytes = file_of(&arena, str_of(cases[i].header), cases[i].data_bytes);
        bool ok = safetensors_parse(&diag, &arena, STR("x"), bytes, &file);
        if (ok != !cases[i].message) print_error("case %zu: %s\n", i, cases[i].header);
        assert_int_equal(ok, !cases[i].message);
        if (!ok) assert_diag(&diag, arena_printf(&arena, "x: error: %s\n", cases[i].message));
        arena_release(&arena);
    }
}

static void refuses_what_is_no_json(void **state) {
    static const char *const headers[] = {
        "",
        "{",
        "{\"a\":1,\"a\":2}",
        "{\"\xff\":1}",
        "{}x",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        Arena arena = {0};
        Diag diag;
        diag_init(&diag, &arena);
        TensorFile file;
        Str bytes = file_of(&arena, str_of(headers[i]), 4);
        assert_false(safetensors_parse(&diag, &arena, STR("x"), bytes, &file));
        assert_diag_has(&diag, "x: error: bad JSON");
        arena_release(&arena);
    }
}

static void refuses_wrong_header_lengths(void **state) {
    Fixture *f = *state;
    assert_false(safetensors_parse(&f->diag, &f->arena, STR("x"), STR("\1\0\0"), &f->file));
    Str longer = STR("\7\0\0\0\0\0\0\0{}    ");
    assert_false(safetensors_parse(&f->diag, &f->arena, STR("x"), longer, &f->file));
    Str huge = STR("\377\377\377\377\377\377\377\377{}");
    assert_false(safetensors_parse(&f->diag, &f->arena, STR("x"), huge, &f->file));
    assert_diag(&f->diag,
                "x: error: no safetensors file: it is shorter than 8 bytes\n"
                "x: error: no safetensors file: its header of 7 bytes is longer than the file\n"
                "x: error: no safetensors file: its header of 18446744073709551615 bytes is "
                "longer than 100 MiB\n");
}

static void survives_damage(void **state) {
    Fixture *f = *state;
    write_sample(f);
    Str whole;
    assert_true(io_read(&f->diag, &f->arena, str_of(f->path), &whole));
    for (uint64_t trial = 0; trial < 5000; trial++) {
        Arena arena = {0};
        Diag diag;
        diag_init(&diag, &arena);
        size_t n = trial % 2 ? whole.len : rng_u64(trial, 9) % whole.len;
        char *copy = arena_strndup(&arena, whole.ptr, n);
        for (uint64_t k = 0; n && k <= trial % 3; k++)
            copy[rng_u64(trial, k) % n] = (char)(rng_u64(trial, k) >> 40);
        TensorFile file;
        bool ok = safetensors_parse(&diag, &arena, STR("x"), (Str){copy, n}, &file);
        assert_int_equal(diag.error_count, ok ? 0 : 1);
        arena_release(&arena);
    }
}

// ---- conversion

static PlanTensor wanted(DType type) {
    return (PlanTensor){
        .name = STR("w"), .type = type, .rank = 2, .shape = shape_2_3, .axes = axes_2_3};
}

static StoredTensor stored(DType type, const void *data) {
    return (StoredTensor){
        .name = STR("w"), .type = type, .rank = 2, .shape = shape_2_3, .data = data};
}

static bool converts(Fixture *f, StoredTensor from, PlanTensor to, void *out) {
    TensorFile file = {.path = STR("x")};
    return safetensors_convert(&f->diag, &file, &from, &to, out);
}

static void converts_floats(void **state) {
    Fixture *f = *state;
    uint16_t half[6];
    double wide[6];
    float back[6];
    assert_true(converts(f, stored(DTYPE_F32, floats), wanted(DTYPE_BF16), half));
    assert_true(converts(f, stored(DTYPE_BF16, half), wanted(DTYPE_F32), back));
    for (int i = 0; i < 6; i++)
        assert_true(fabsf(back[i] - floats[i]) <= fabsf(floats[i]) / 256);
    assert_true(converts(f, stored(DTYPE_F32, floats), wanted(DTYPE_F64), wide));
    assert_true(wide[4] == (double)floats[4]);
    assert_true(converts(f, stored(DTYPE_F32, floats), wanted(DTYPE_F16), half));
    assert_true(isinf(f16_to(half[5])));
    assert_true(converts(f, stored(DTYPE_F16, half), wanted(DTYPE_F32), back));
    assert_true(isinf(back[5]));
}

static void reads_data_at_any_alignment(void **state) {
    Fixture *f = *state;
    char shifted[sizeof floats + 1];
    double wide[6];
    memcpy(shifted + 1, floats, sizeof floats);
    assert_true(converts(f, stored(DTYPE_F32, shifted + 1), wanted(DTYPE_F64), wide));
    assert_true(wide[1] == -2);
}

static void converts_integers_that_fit(void **state) {
    Fixture *f = *state;
    static const int64_t values[] = {0, 255, 3, 4, 5, INT64_C(1) << 60};
    int32_t narrow[6];
    int64_t same[6];
    assert_true(converts(f, stored(DTYPE_I64, values), wanted(DTYPE_I64), same));
    assert_true(same[5] == values[5]);
    assert_false(converts(f, stored(DTYPE_I64, values), wanted(DTYPE_I32), narrow));
    assert_diag(&f->diag,
                "x: error: w[d=1, ff=2] is 1152921504606846976, which does not fit i32\n");
}

static void refuses_floats_for_integers(void **state) {
    Fixture *f = *state;
    int32_t out[6];
    assert_false(converts(f, stored(DTYPE_F32, floats), wanted(DTYPE_I32), out));
    assert_diag(&f->diag, "x: error: tensor 'w' is F32 and the model needs integers (I32)\n");
}

static void refuses_nan_and_names_its_place(void **state) {
    Fixture *f = *state;
    float values[6], out[6];
    memcpy(values, floats, sizeof values);
    values[1] = INFINITY;
    assert_true(converts(f, stored(DTYPE_F32, values), wanted(DTYPE_F32), out));
    values[4] = NAN;
    assert_false(converts(f, stored(DTYPE_F32, values), wanted(DTYPE_F32), out));
    assert_diag(&f->diag, "x: error: w[d=1, ff=1] is NaN\n");
}

static void refuses_another_shape(void **state) {
    Fixture *f = *state;
    float out[6];
    StoredTensor from = stored(DTYPE_F32, floats);
    from.rank = 1;
    from.shape = shape_4;
    assert_false(converts(f, from, wanted(DTYPE_F32), out));
    assert_diag(&f->diag,
                "x: error: tensor 'w' has shape [4] and the model needs [d=2, ff=3]\n");
}

// ---- into a session

static void fill_plan(Arena *arena, Plan *plan) {
    *plan = (Plan){.model = STR("m"), .target = STR("cpu"), .tensor_count = 4};
    plan->tensors = arena_array(arena, PlanTensor, 4);
    plan->tensors[0] = wanted(DTYPE_F32);
    plan->tensors[0].name = STR("w\"\xc3\xa9");
    plan->tensors[1] = (PlanTensor){.kind = TENSOR_STATE, .name = STR("s")};
    plan->tensors[2] = (PlanTensor){.kind = TENSOR_STATE, .name = STR("absent")};
    plan->tensors[3] = (PlanTensor){.kind = TENSOR_INPUT,
                                    .name = STR("n"),
                                    .type = DTYPE_I32,
                                    .rank = 1,
                                    .shape = shape_4,
                                    .axes = axes_4};
}

// Loads the sample file into the plan above; `message` is part of what is said, NULL for
// nothing.
static void check_load(Fixture *f, LoadKinds kinds, bool expected, const char *message) {
    Plan plan;
    Session *session;
    fill_plan(&f->arena, &plan);
    write_sample(f);
    assert_true(safetensors_open(&f->diag, &f->arena, str_of(f->path), &f->file));
    assert_true(session_open(&f->diag, &plan, 1, &session));
    assert_int_equal(safetensors_load_into(&f->diag, &f->file, session, kinds), expected);
    if (expected)
        assert_memory_equal(session_read(&f->diag, session, 0), floats, sizeof floats);
    const float *s = session_read(&f->diag, session, 1);
    assert_true(*s == (kinds.optional & LOAD(TENSOR_STATE) ? 3.0F : 0.0F));
    session_close(session);
    if (message) assert_diag_has(&f->diag, message);
    if (!message) assert_int_equal(f->diag.item_count, 0);
}

static void loads_parameters_and_states(void **state) {
    check_load(*state,
               (LoadKinds){.required = LOAD(TENSOR_PARAM) | LOAD(TENSOR_INPUT),
                           .optional = LOAD(TENSOR_STATE)},
               true, NULL);
}

static void warns_of_extra_tensors(void **state) {
    check_load(*state, (LoadKinds){.required = LOAD(TENSOR_PARAM)}, true,
               ": 2 tensors that the model does not have: n, s\n");
}

static void is_quiet_if_asked(void **state) {
    check_load(*state, (LoadKinds){.required = LOAD(TENSOR_PARAM), .quiet = true}, true, NULL);
}

static void lists_missing_tensors(void **state) {
    Fixture *f = *state;
    Plan plan;
    Session *session;
    fill_plan(&f->arena, &plan);
    plan.tensors[0].name = STR("v");
    assert_true(session_open(&f->diag, &plan, 1, &session));
    TensorFile empty = {.path = STR("p.safetensors")};
    LoadKinds kinds = {.required = LOAD(TENSOR_PARAM) | LOAD(TENSOR_STATE)};
    assert_false(safetensors_load_into(&f->diag, &empty, session, kinds));
    session_close(session);
    assert_diag(&f->diag, "p.safetensors: error: parameter 'v' (f32[d=2, ff=3]) is missing\n"
                          "p.safetensors: error: state 's' (f32[]) is missing\n"
                          "p.safetensors: error: state 'absent' (f32[]) is missing\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_the_target_when_writing_fails, setup, teardown),
        cmocka_unit_test(refuses_hostile_headers),
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test_setup_teardown(refuses_wrong_header_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(converts_floats, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_data_at_any_alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(converts_integers_that_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_floats_for_integers, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_nan_and_names_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_another_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(loads_parameters_and_states, setup, teardown),
        cmocka_unit_test_setup_teardown(warns_of_extra_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(is_quiet_if_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_missing_tensors, setup, teardown),
    };
    // Without jansson nothing can be read.
    return json_available() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
