// test_nvrtc.c: small kernels through NVRTC, and cubins that are not ones. What needs NVRTC is
// skipped where there is none; no GPU is needed.
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codegen/cuda/cuda.h"
#include "tests/test.h"

static void need_nvrtc(DiagFixture *f) {
    if (nvrtc_version(&f->arena).len) return;
    print_message("skipped: there is no NVRTC here\n");
    skip();
}

static CudaCode compile(DiagFixture *f, const char *text, IsaLevel arch) {
    CudaCode code;
    bool ok = nvrtc_compile(&f->diag, &f->arena, str_of(text), arch, &code);
    assert_diag(&f->diag, "");
    assert_true(ok);
    return code;
}

static const char scale[] = "#include \"prelude.cuh\"\n"
                            "KERNEL(128) kernel(float *x) {\n"
                            "    __shared__ float close[128];\n"
                            "    close[threadIdx.x] = x[threadIdx.x];\n"
                            "    __syncthreads();\n"
                            "    x[threadIdx.x] = 2.0f * close[127 - threadIdx.x];\n"
                            "}\n";

static void test_compiles(void **state) {
    DiagFixture *f = *state;
    need_nvrtc(f);
    CudaCode code = compile(f, scale, CUDA_SM90A);
    assert_true(str_starts(code.cubin, STR("\x7f"
                                           "ELF")));
    assert_in_range(code.registers, 1, 255);
    assert_int_equal(code.stack_bytes, 0);
    assert_int_equal(code.spill_bytes, 0);
    assert_int_equal(code.shared_bytes, 128 * sizeof(float));
    assert_int_equal(code.notes.len, 0);
    assert_true(code.seconds > 0);
    assert_true(str_starts(compile(f, scale, CUDA_SM80).cubin, STR("\x7f"
                                                                   "ELF")));
}

// Same text, same bytes: cubins are named by their hash.
static void test_deterministic(void **state) {
    DiagFixture *f = *state;
    need_nvrtc(f);
    CudaCode one = compile(f, scale, CUDA_SM90A), two = compile(f, scale, CUDA_SM90A);
    assert_true(str_eq(one.cubin, two.cubin));
}

// 96 values that stay alive are more than 32 registers hold.
#define MANY_VALUES                                                                            \
    " kernel(float *x) {\n"                                                                    \
    "    float v[96];\n"                                                                       \
    "    _Pragma(\"unroll\") for (int i = 0; i < 96; i++) v[i] = x[i * 1024 + threadIdx.x];\n" \
    "    __syncthreads();\n"                                                                   \
    "    _Pragma(\"unroll\") for (int i = 0; i < 96; i++)\n"                                   \
    "        x[i * 1024 + threadIdx.x] = v[i] * v[95 - i];\n"                                  \
    "}\n"

static void test_spills_are_reported(void **state) {
    DiagFixture *f = *state;
    need_nvrtc(f);
    static const char text[] =
        "extern \"C\" __global__ void __launch_bounds__(1024, 2)" MANY_VALUES;
    CudaCode code = compile(f, text, CUDA_SM90A);
    assert_int_equal(code.registers, 32);
    assert_true(code.spill_bytes > 0);
    assert_true(code.stack_bytes > 0);
}

static void test_a_kernel_that_spills_gets_room(void **state) {
    DiagFixture *f = *state;
    need_nvrtc(f);
    static const char text[] = "#include \"prelude.cuh\"\n"
                               "#ifdef ROOMY\n"
                               "KERNEL(256)\n"
                               "#else\n"
                               "KERNEL_RESIDENT(256, 8)\n"
                               "#endif\n" MANY_VALUES;
    CudaCode code = compile(f, text, CUDA_SM90A);
    assert_in_range(code.registers, 96, 128);
    assert_int_equal(code.spill_bytes, 0);
    assert_int_equal(code.stack_bytes, 0);
}

static void test_ptx(void **state) {
    DiagFixture *f = *state;
    need_nvrtc(f);
    Str ptx;
    assert_true(nvrtc_ptx(&f->diag, &f->arena, str_of(scale), CUDA_SM90A, &ptx));
    assert_non_null(strstr(ptx.ptr, ".target sm_90a"));
    assert_non_null(strstr(ptx.ptr, ".entry kernel"));
    assert_int_equal(strlen(ptx.ptr), ptx.len);
}

static void test_error_names_the_line_of_the_model(void **state) {
    DiagFixture *f = *state;
    need_nvrtc(f);
    CudaCode code;
    Str text = STR("#line 41 \"model.strata\"\n"
                   "extern \"C\" __global__ void kernel(float *x) { x[0] = nothing; }\n");
    assert_false(nvrtc_compile(&f->diag, &f->arena, text, CUDA_SM90A, &code));
    assert_int_equal(f->diag.fail, FAIL_INPUT);
    assert_diag_has(&f->diag, "strata's CUDA code does not compile: model.strata(41): error: ");
    assert_diag_has(&f->diag, "\"nothing\" is undefined");
}

static void test_counts_instructions(void **state) {
    DiagFixture *f = *state;
    need_nvrtc(f);
    static const char text[] =
        "#include \"prelude.cuh\"\n"
        "KERNEL(32) kernel(float *x, const u32 *y, MAP_ARGUMENT map) {\n"
        "    DYNAMIC_SHARED(close);\n"
        "    float d[4] = {0, 0, 0, 0};\n"
        "    u32 a[4] = {y[0], y[1], y[2], y[3]};\n"
        "    mma_bf16(d, a, y[4], y[5]);\n"
        "    mma_bf16(d, a, y[6], y[7]);\n"
        "    x[threadIdx.x] = d[0] + d[1] + d[2] + d[3];\n"
        "    if (threadIdx.x == 0)\n"
        "        tensor_load(shared_address(close + 1024), &map, shared_address(close), 0, 0);\n"
        "}\n";
    CudaCode code = compile(f, text, CUDA_SM90A);
    CubinCounts counts;
    assert_true(cubin_count(&f->diag, code.cubin, &counts));
    assert_int_equal(counts.mma, 2);
    assert_int_equal(counts.tensor_copies, 1);
    assert_int_equal(counts.wgmma, 0);
    assert_true(counts.instructions > 10);
}

// A cubin that is cut off or changed anywhere is counted or refused, without reading past it.
static void test_damaged_cubins(void **state) {
    DiagFixture *f = *state;
    CubinCounts counts;
    assert_false(cubin_count(&f->diag, STR(""), &counts));
    assert_false(cubin_count(&f->diag,
                             STR("this is some text and no ELF file at all, which is "
                                 "long enough to hold a header of one"),
                             &counts));
    assert_diag_has(&f->diag, "damaged cubin: it is not an ELF file");
    need_nvrtc(f);
    CudaCode code;
    assert_true(nvrtc_compile(&f->diag, &f->arena, str_of(scale), CUDA_SM90A, &code));
    for (size_t length = 1; length < code.cubin.len; length += 13) {
        char *copy = malloc(length + 1);  // so that a sanitizer sees reads past the end
        memcpy(copy, code.cubin.ptr, length);
        bool ok = cubin_count(&f->diag, (Str){copy, length}, &counts);
        assert_false(ok && length < 64);
        free(copy);
    }
    for (size_t at = 0; at < 64; at++) {
        char *copy = malloc(code.cubin.len);
        memcpy(copy, code.cubin.ptr, code.cubin.len);
        copy[at] = (char)0xff;
        bool ok = cubin_count(&f->diag, (Str){copy, code.cubin.len}, &counts);
        (void)ok;
        free(copy);
    }
}

// ---- several threads at once

typedef struct {
    Arena arena;
    Diag diag;
    Str cubin;
} Compile;

static void *compile_on_thread(void *context) {
    Compile *c = context;
    CudaCode code;
    diag_init(&c->diag, &c->arena);
    if (nvrtc_compile(&c->diag, &c->arena, str_of(scale), CUDA_SM90A, &code))
        c->cubin = code.cubin;
    return NULL;
}

static void test_threads(void **state) {
    DiagFixture *f = *state;
    need_nvrtc(f);
    enum { THREADS = 4 };
    Compile compiles[THREADS] = {0};
    pthread_t threads[THREADS];
    CudaCode code = compile(f, scale, CUDA_SM90A);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, compile_on_thread, &compiles[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(str_eq(compiles[i].cubin, code.cubin));
        arena_release(&compiles[i].arena);
    }
}

// ---- a machine without NVRTC: in a process of its own, since it is looked for once

static int without_nvrtc(void) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    setenv("STRATA_NVRTC", "/nowhere/libnvrtc.so", 1);
    CudaCode code;
    bool ok = nvrtc_compile(&diag, &arena, str_of(scale), CUDA_SM90A, &code);
    StrBuf text = {0};
    diag_render(&diag, &text);
    bool said = text.ptr && strstr(text.ptr, "STRATA_NVRTC=/nowhere/libnvrtc.so is no NVRTC");
    bool right = !ok && diag.fail == FAIL_ENVIRONMENT && said && !nvrtc_version(&arena).len;
    strbuf_release(&text);
    arena_release(&arena);
    return right ? 0 : 1;
}

static void test_absence(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(without_nvrtc());
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        // First, while no NVRTC is open in this process.
        cmocka_unit_test(test_absence),
        cmocka_unit_test_setup_teardown(test_compiles, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(test_deterministic, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(test_spills_are_reported, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(test_a_kernel_that_spills_gets_room, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(test_ptx, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(test_error_names_the_line_of_the_model, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(test_counts_instructions, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(test_damaged_cubins, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(test_threads, diag_setup, diag_teardown),
    };
    return cmocka_run_group_tests_name("nvrtc", tests, NULL, NULL);
}
