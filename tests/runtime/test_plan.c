// test_plan.c: what is written is read back; a file that is cut, changed or made up is refused.
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/rng.h"
#include "runtime/plan_format.h"
#include "tests/runtime/plan_sample.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    Plan *plan;
    StrBuf bytes;
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    f->plan = plan_sample(&f->arena);
    plan_encode(f->plan, &f->bytes);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    strbuf_release(&f->bytes);
    arena_release(&f->arena);
    test_free(f);
    return 0;
}

static void writes_and_reads(void **state) {
    Fixture *f = *state;
    char path[] = "/tmp/strata-plan-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_true(plan_write(&f->diag, f->plan, str_of(path)));
    Plan *again = NULL;
    assert_true(plan_read(&f->diag, &f->arena, str_of(path), &again));
    unlink(path);
    StrBuf bytes = {0}, text = {0}, text_again = {0};
    plan_encode(again, &bytes);
    assert_int_equal(bytes.len, f->bytes.len);
    assert_memory_equal(bytes.ptr, f->bytes.ptr, bytes.len);
    plan_print(f->plan, &text);
    plan_print(again, &text_again);
    assert_string_equal(text.ptr, text_again.ptr);
    strbuf_release(&bytes);
    strbuf_release(&text);
    strbuf_release(&text_again);
}

static void prints_launches(void **state) {
    Fixture *f = *state;
    StrBuf text = {0};
    plan_print(plan_sample_cuda(&f->arena), &text);
    const char *kernels = strstr(text.ptr, "kernel row.1");
    assert_non_null(kernels);
    *strstr(kernels, "constants") = 0;
    assert_string_equal(
        kernels, "kernel row.1 : tasks 8, scratch 640, code 21, flops 1000000, bytes 250000\n"
                 "  blocks 264 of 384 threads, clusters of 2, shared 200000, registers 168\n"
                 "  map of 1+0 f32[4*1, 4*4] box 4 2 swizzle 32\n");
    strbuf_release(&text);
}

static void prints(void **state) {
    Fixture *f = *state;
    StrBuf text = {0};
    plan_print(f->plan, &text);
    assert_string_equal(
        text.ptr,
        "plan lm for cpu with sse2\n"
        "extent B = 2\n"
        "extent T = 3\n"
        "input tokens : i32[B=2, T=3] below 5\n"
        "param embed : f32[vocab=5, d=4] trained #decay #matrix\n"
        "state bias : f32\n"
        "output loss : f32\n"
        "kernel row.0 : tasks 7, scratch 640, code 12, flops 1000000, bytes 250000\n"
        "kernel row.1 : tasks 8, scratch 640, code 21, flops 1000000, bytes 250000\n"
        "constants 17\n"
        "entry train : arena 4096\n"
        "  launch row.1 (embed+16:64, arena+64:64, arena+128:64, constant+0:8) line 12\n"
        "  clear (arena+64:64)\n"
        "  copy (arena+64:64, arena+128:64)\n"
        "  gemm m=2 n=3 k=4 tb batch=2,1 (embed+16:64, arena+64:64, arena+128:64)\n");
    strbuf_release(&text);
}

static void finds_by_name(void **state) {
    Fixture *f = *state;
    assert_ptr_equal(plan_entry(f->plan, "train"), &f->plan->entries[0]);
    assert_null(plan_entry(f->plan, "forward"));
    assert_int_equal(plan_tensor_find(f->plan, TENSOR_PARAM, STR("embed")), 1);
    assert_int_equal(plan_tensor_find(f->plan, TENSOR_STATE, STR("embed")), -1);
    assert_int_equal(plan_tensor_bytes(&f->plan->tensors[1]), 80);
    assert_int_equal(plan_tensor_bytes(&f->plan->tensors[3]), 4);
    StrBuf position = {0};
    plan_tensor_position(&f->plan->tensors[0], 5, &position);
    assert_string_equal(position.ptr, "tokens[B=1, T=2]");
    strbuf_release(&position);
}

// Decodes bytes that are expected to be refused with exactly one error.
static bool decodes(Str bytes, const char *message) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Plan *plan = NULL;
    bool ok = plan_decode(&diag, &arena, STR("x.sta"), bytes, &plan);
    assert_int_equal(diag.error_count, ok ? 0 : 1);
    if (message) assert_diag(&diag, message);
    arena_release(&arena);
    return ok;
}

static void refuses_every_truncation(void **state) {
    Fixture *f = *state;
    for (size_t n = 0; n < f->bytes.len; n++) {
        char *copy = test_malloc(n + 1);
        memcpy(copy, f->bytes.ptr, n);
        assert_false(decodes((Str){copy, n}, NULL));
        test_free(copy);
    }
    assert_false(decodes(STR("hello"), "x.sta: error: not an artifact made by strata\n"));
    assert_false(
        decodes((Str){f->bytes.ptr, 200}, "x.sta: error: damaged artifact: it is cut short\n"));
}

static void refuses_every_changed_bit(void **state) {
    Fixture *f = *state;
    for (size_t bit = 0; bit < f->bytes.len * 8; bit++) {
        f->bytes.ptr[bit / 8] = (char)(f->bytes.ptr[bit / 8] ^ 1 << bit % 8);
        assert_false(decodes(strbuf_view(&f->bytes), NULL));
        f->bytes.ptr[bit / 8] = (char)(f->bytes.ptr[bit / 8] ^ 1 << bit % 8);
    }
    f->bytes.ptr[8] = 9;
    assert_false(decodes(strbuf_view(&f->bytes),
                         "x.sta: error: artifact of version 9; this strata reads version 3\n"));
}

// With the checksum made right, nothing but the checks of each field stands between damage and
// the program.
static void damage_sealed(Fixture *f, uint64_t trials) {
    unsigned char *copy = test_malloc(f->bytes.len);
    for (uint64_t trial = 0; trial < trials; trial++) {
        memcpy(copy, f->bytes.ptr, f->bytes.len);
        for (uint64_t k = 0; k <= trial % 3; k++) {
            uint64_t random = rng_u64(trial, k);
            size_t at = PLAN_CHECKED_FROM + random % (f->bytes.len - PLAN_CHECKED_FROM);
            copy[at] = random >> 32 & 1 ? 0xff : (unsigned char)(random >> 40);
        }
        plan_sample_seal(copy, f->bytes.len);
        decodes((Str){(const char *)copy, f->bytes.len}, NULL);
    }
    test_free(copy);
}

static void survives_sealed_damage(void **state) { damage_sealed(*state, 20000); }

static void check_refused(Fixture *f, const char *message) {
    assert_false(plan_verify(&f->diag, STR("x.sta"), f->plan));
    assert_diag(&f->diag, message);
}

static void verifies_the_sample(void **state) {
    Fixture *f = *state;
    assert_true(plan_verify(&f->diag, STR("x.sta"), f->plan));
}

static void refuses_a_buffer_past_its_tensor(void **state) {
    Fixture *f = *state;
    f->plan->entries[0].buffers[0].offset = 17;
    check_refused(f,
                  "x.sta: error: bad plan: buffer 0 of entry 0: it reaches past its memory\n");
}

static void refuses_a_step_without_its_kernel(void **state) {
    Fixture *f = *state;
    f->plan->entries[0].steps[0].kernel = 2;
    check_refused(f, "x.sta: error: bad plan: step 0 of entry 0: it names no kernel\n");
}

static void refuses_a_copy_of_too_much(void **state) {
    Fixture *f = *state;
    f->plan->entries[0].buffers[2].bytes = 128;
    check_refused(f,
                  "x.sta: error: bad plan: step 2 of entry 0: it copies more than there is\n");
}

static void refuses_a_copy_onto_itself(void **state) {
    Fixture *f = *state;
    f->plan->entries[0].buffers[2].offset = 64 + 32;
    check_refused(f, "x.sta: error: bad plan: step 2 of entry 0: its ends overlap\n");
}

static void refuses_a_contraction_past_its_buffer(void **state) {
    Fixture *f = *state;
    f->plan->entries[0].steps[3].gemm.stride_a[0] = 9;
    check_refused(f, "x.sta: error: bad plan: step 3 of entry 0: an operand of its contraction "
                     "reaches past its buffer\n");
}

static void refuses_one_name_for_two_tensors(void **state) {
    Fixture *f = *state;
    f->plan->tensors[2].name = STR("embed");
    check_refused(f, "x.sta: error: bad plan: tensor 2: its name occurs twice\n");
}

static void refuses_code_without_its_hash(void **state) {
    Fixture *f = *state;
    f->plan->kernels[1].hash.lo ^= 1;
    check_refused(f, "x.sta: error: bad plan: kernel 1: its code does not have its hash\n");
}

static void refuses_shapes_that_overflow(void **state) {
    Fixture *f = *state;
    static const int64_t huge[] = {INT64_C(1) << 40, INT64_C(1) << 40};
    f->plan->tensors[1].shape = huge;
    check_refused(f, "x.sta: error: bad plan: tensor 1: an extent is out of range\n");
}

// ---- launches

static Launch *sample_launch(Fixture *f) {
    f->plan = plan_sample_cuda(&f->arena);
    return &f->plan->kernels[1].launch;
}

static void check_launch_refused(Fixture *f, const char *what) {
    assert_false(plan_verify(&f->diag, STR("x.sta"), f->plan));
    assert_diag_has(&f->diag, what);
    diag_init(&f->diag, &f->arena);
}

static void refuses_launches_beyond_the_hardware(void **state) {
    Fixture *f = *state;
    sample_launch(f);
    assert_true(plan_verify(&f->diag, STR("x.sta"), f->plan));
    sample_launch(f)->blocks = 0;
    check_launch_refused(f, "bad plan: kernel 1: its number of blocks is out of range");
    sample_launch(f)->threads = 1025;
    check_launch_refused(f, "bad plan: kernel 1: its number of threads is out of range");
    sample_launch(f)->cluster = 5;
    check_launch_refused(f, "bad plan: kernel 1: its blocks do not divide into clusters");
    sample_launch(f)->cluster = 0;
    check_launch_refused(f, "bad plan: kernel 1: its blocks do not divide into clusters");
    sample_launch(f)->shared_bytes = 232449;
    check_launch_refused(f, "bad plan: kernel 1: its shared memory is out of range");
    sample_launch(f)->map_count = LAUNCH_MAX_MAPS + 1;
    check_launch_refused(f, "bad plan: kernel 1: it has too many tensor maps");
    sample_launch(f);
    f->plan->target = STR("cpu");
    check_launch_refused(f, "bad plan: kernel 0: it has a grid of blocks but runs on the CPU");
}

static void refuses_bad_tensor_maps(void **state) {
    Fixture *f = *state;
    sample_launch(f)->maps[0].rank = 1;
    check_launch_refused(f, "the number of axes of a tensor map is out of range");
    sample_launch(f)->maps[0].rank = TENSOR_MAP_RANK + 1;
    check_launch_refused(f, "the number of axes of a tensor map is out of range");
    sample_launch(f)->maps[0].box[1] = 257;
    check_launch_refused(f, "the box of a tensor map is out of range");
    sample_launch(f)->maps[0].box[0] = 3;
    check_launch_refused(f, "the rows of a tensor map's box are not aligned");
    sample_launch(f)->maps[0].stride[0] = 2;
    check_launch_refused(f, "the rows of a tensor map are not dense");
    sample_launch(f)->maps[0].stride[1] = 5;
    check_launch_refused(f, "a stride of a tensor map is not aligned");
    sample_launch(f)->maps[0].stride[1] = INT64_MAX;
    check_launch_refused(f, "a stride of a tensor map is out of range");
    sample_launch(f)->maps[0].extent[1] = 0;
    check_launch_refused(f, "an extent of a tensor map is out of range");
    sample_launch(f)->maps[0].offset = 2;
    check_launch_refused(f, "the offset of a tensor map is out of range or not aligned");
    sample_launch(f)->maps[0].swizzle = 48;
    check_launch_refused(f, "the swizzle of a tensor map is unknown");
    sample_launch(f)->maps[0].box[0] = 12;
    check_launch_refused(f, "the rows of a tensor map's box are wider than its swizzle");
}

static void refuses_tensor_maps_past_their_arguments(void **state) {
    Fixture *f = *state;
    sample_launch(f)->maps[0].arg = 4;
    check_launch_refused(f, "step 0 of entry 0: a tensor map describes no argument");
    sample_launch(f)->maps[0].extent[1] = 5;
    check_launch_refused(f, "step 0 of entry 0: a tensor map reaches past its buffer");
    sample_launch(f)->maps[0].offset = 4;
    check_launch_refused(f, "step 0 of entry 0: a tensor map reaches past its buffer");
    sample_launch(f);
    f->plan->kernels[1].launch.maps[0].stride[1] = INT64_C(1) << 37;
    f->plan->kernels[1].launch.maps[0].extent[1] = INT64_C(1) << 32;
    check_launch_refused(f, "step 0 of entry 0: a tensor map reaches past its buffer");
}

static void refuses_elements_that_the_cpu_does_not_multiply(void **state) {
    Fixture *f = *state;
    f->plan->entries[0].steps[3].gemm.type_ab = DTYPE_BF16;
    check_refused(f, "x.sta: error: bad plan: step 3 of entry 0: its contraction has elements "
                     "that its target does not multiply\n");
}

static void writes_and_reads_launches(void **state) {
    Fixture *f = *state;
    StrBuf again = {0};
    f->plan = plan_sample_cuda(&f->arena);
    plan_encode(f->plan, &f->bytes);
    Plan *plan = NULL;
    assert_true(plan_decode(&f->diag, &f->arena, STR("x.sta"), strbuf_view(&f->bytes), &plan));
    plan_encode(plan, &again);
    assert_true(str_eq(strbuf_view(&again), strbuf_view(&f->bytes)));
    const Launch *launch = &plan->kernels[1].launch;
    assert_int_equal(launch->shared_bytes, 200000);
    assert_int_equal(launch->maps[0].box[1], 2);
    assert_int_equal(plan->entries[0].steps[3].gemm.type_ab, DTYPE_BF16);
    strbuf_release(&again);
    damage_sealed(f, 20000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_and_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(prints, setup, teardown),
        cmocka_unit_test_setup_teardown(prints_launches, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_every_truncation, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_every_changed_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_sealed_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(verifies_the_sample, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_buffer_past_its_tensor, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_step_without_its_kernel, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_copy_of_too_much, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_copy_onto_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_contraction_past_its_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_one_name_for_two_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_code_without_its_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_shapes_that_overflow, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_launches_beyond_the_hardware, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_tensor_maps, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_tensor_maps_past_their_arguments, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(refuses_elements_that_the_cpu_does_not_multiply, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(writes_and_reads_launches, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
