// Every kernel of every model compiles for every GPU that Strata knows, with nothing spilled
// and nothing that the compiler says is slow; on sm_90a the contractions of bf16, but for those
// with few results, are wgmma on tiles that tensor copies bring.
#include "codegen/cuda/loop_choices.h"
#include "tests/models/cuda_kernels.h"
#include "tests/test.h"

// Both operands in 16 bits, read from memory as they are.
static bool is_plain_contraction(const TileProgram *p) {
    if (p->skeleton != TILE_LOOP) return false;
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *dot = &p->ops.ptr[i];
        if (dot->kind != TILE_DOT) continue;
        for (int k = 0; k < 2; k++) {
            const TileOp *in = tile_op(p, dot->in[k]);
            bool plain = in->kind == TILE_LOAD &&
                         p->args.ptr[in->access.arg].type == DTYPE_BF16 &&
                         in->access.guard[0].dim < 0 && in->access.guard[1].dim < 0;
            if (!plain) return false;
        }
        return true;
    }
    return false;
}

static const char *verdict(Arena *arena, const CompiledKernel *k) {
    const CubinCounts *n = &k->counts;
    if (k->failure[0]) return k->failure;
    if (k->code.spill_bytes || k->code.scratch_bytes)
        return str_printf(arena, "%u bytes spilled, %lld of stack", k->code.spill_bytes,
                          (long long)k->code.scratch_bytes)
            .ptr;
    bool wants_wgmma =
        is_plain_contraction(k->program) && cuda_loop_is_ws(arena, k->program, k->arch);
    if (wants_wgmma && (!n->wgmma || !n->tensor_copies))
        return str_printf(arena, "%u wgmma, %u tensor copies", n->wgmma, n->tensor_copies).ptr;
    return NULL;
}

// Compiles the kernels and frees them.
static void check_kernels(CudaKernels *k) {
    cuda_kernels_compile(k);
    uint32_t failures = 0;
    vec_each (const CompiledKernel, kernel, &k->kernels) {
        const char *failure = verdict(&k->arena, kernel);
        if (!failure) continue;
        failures++;
        fprintf(stderr, "%s: %.*s: %s\n", isa_level_text(kernel->arch),
                STR_ARG(kernel->program->name), failure);
    }
    cuda_kernels_release(k);
    assert_int_equal(failures, 0);
}

static void check_arch(IsaLevel arch) {
    static const char *const models[] = {"models/prenorm.strata", "models/attnres_full.strata",
                                         "models/attnres_block.strata",
                                         "models/kimi_linear.strata"};
    const Setting tiny = {STR("size"), STR("tiny")};
    const Binding bindings[] = {{STR("B"), 8}, {STR("T"), 256}};
    CudaKernels k;
    cuda_kernels_init(&k);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        CudaModel m = {.path = models[i],
                       .kind = ENTRY_TRAIN,
                       .settings = {&tiny, 1},
                       .bindings = {bindings, 2},
                       .arch = arch,
                       .storage = DTYPE_BF16};
        assert_true(cuda_kernels_add(&k, &m));
        m.storage = DTYPE_F32;
        assert_true(cuda_kernels_add(&k, &m));
    }
    assert_true(k.kernels.len > 80);
    check_kernels(&k);
}

#define SET(name, value)                                           \
    {                                                              \
        {(name), sizeof(name) - 1}, { (value), sizeof(value) - 1 } \
    }

static void test_sm80(void **state) {
    (void)state;
    check_arch(CUDA_SM80);
}

static void test_sm90a(void **state) {
    (void)state;
    check_arch(CUDA_SM90A);
}

static void test_sm100a(void **state) {
    (void)state;
    check_arch(CUDA_SM100A);
}

static bool is_loop(const CompiledKernel *k) { return k->program->skeleton == TILE_LOOP; }
static bool has_many_operands(const CompiledKernel *k) { return k->program->args.len > 48; }

static bool is_by_wgmma(const CompiledKernel *k) {
    Arena arena = {0};
    bool is = is_loop(k) && cuda_loop_is_ws(&arena, k->program, k->arch);
    arena_release(&arena);
    return is;
}

static void keep(CudaKernels *k, bool (*wanted)(const CompiledKernel *k), uint32_t least) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < k->kernels.len; i++)
        if (wanted(&k->kernels.ptr[i])) k->kernels.ptr[count++] = k->kernels.ptr[i];
    assert_true(count > least);
    k->kernels.len = count;
}

// Adds a model at the size of the demo.
static void add_demo(CudaKernels *k, const char *path, IsaLevel arch, DType storage) {
    const Binding bindings[] = {{STR("B"), 8}, {STR("T"), 256}};
    CudaModel m = {.path = path,
                   .kind = ENTRY_TRAIN,
                   .bindings = {bindings, 2},
                   .arch = arch,
                   .storage = storage};
    assert_true(cuda_kernels_add(k, &m));
}

// Contractions with larger tiles than tiny models have.
static void test_contractions(void **state) {
    (void)state;
    CudaKernels k;
    cuda_kernels_init(&k);
    add_demo(&k, "models/attnres_block.strata", CUDA_SM80, DTYPE_F32);
    add_demo(&k, "models/attnres_block.strata", CUDA_SM90A, DTYPE_BF16);
    add_demo(&k, "models/attnres_block.strata", CUDA_SM100A, DTYPE_BF16);
    keep(&k, is_loop, 30);
    uint32_t by_wgmma = 0;
    vec_each (const CompiledKernel, kernel, &k.kernels)
        by_wgmma += is_by_wgmma(kernel);
    assert_true(by_wgmma > 8);
    check_kernels(&k);
}

// The kernels with the most operands, the norm of all gradients and updates of small weights
// among them.
static void test_many_operands(void **state) {
    (void)state;
    CudaKernels k;
    cuda_kernels_init(&k);
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++) {
        add_demo(&k, "models/attnres_full.strata", (IsaLevel)arch, DTYPE_BF16);
        add_demo(&k, "models/prenorm.strata", (IsaLevel)arch, DTYPE_BF16);
    }
    keep(&k, has_many_operands, 12);
    check_kernels(&k);
}

static bool is_of_groups_or_attention(const CompiledKernel *k) {
    if (k->program->skeleton == TILE_ATTEND) return true;
    vec_each (const TileOp, op, &k->program->ops)
        if (op->kind == TILE_LIMIT || op->kind == TILE_SORT || op->kind == TILE_SCATTER)
            return true;
    return false;
}

// Mixtures of experts and latent attention: of tiny models, and at the sizes of real ones.
static void test_experts_and_attention(void **state) {
    (void)state;
    const Setting tiny[] = {SET("size", "tiny"), SET("sparse", "true"), SET("every", "1")};
    const Setting real[] = {SET("size", "b48"), SET("every", "1"), SET("layers", "2")};
    const Binding few[] = {{STR("B"), 2}, {STR("T"), 64}},
                  many[] = {{STR("B"), 1}, {STR("T"), 8192}};
    CudaKernels k;
    cuda_kernels_init(&k);
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++) {
        CudaModel m = {.path = "models/kimi_linear.strata",
                       .kind = ENTRY_TRAIN,
                       .settings = {tiny, 3},
                       .bindings = {few, 2},
                       .arch = (IsaLevel)arch,
                       .storage = DTYPE_F32};
        assert_true(cuda_kernels_add(&k, &m));
        m.storage = DTYPE_BF16;
        assert_true(cuda_kernels_add(&k, &m));
        m.settings = (Settings){real, 3};
        m.bindings = (Bindings){many, 2};
        assert_true(cuda_kernels_add(&k, &m));
        const EntryKind chunks[] = {ENTRY_PREFILL, ENTRY_DECODE};
        for (int i = 0; i < 2; i++) {
            m.kind = chunks[i];
            assert_true(cuda_kernels_add(&k, &m));
        }
    }
    keep(&k, is_of_groups_or_attention, 58);
    check_kernels(&k);
}

static bool is_recurrence(const CompiledKernel *k) {
    return k->program->skeleton == TILE_CHUNK;
}

// Every mixer of models/lm.strata, in f32 or bf16, for one of the GPUs; kimi_linear is above
// for all.
static void test_recurrences(void **state) {
    (void)state;
    const Setting mixers[] = {
        SET("mixer", "linear"), SET("mixer", "delta_net"),       SET("mixer", "retnet"),
        SET("mixer", "mamba2"), SET("mixer", "gated_delta_net"), SET("mixer", "gla"),
        SET("mixer", "kda")};
    const Binding bindings[] = {{STR("B"), 2}, {STR("T"), 256}};
    CudaKernels k;
    cuda_kernels_init(&k);
    for (size_t i = 0; i < sizeof mixers / sizeof *mixers; i++) {
        CudaModel m = {.path = "models/lm.strata",
                       .kind = ENTRY_TRAIN,
                       .settings = {&mixers[i], 1},
                       .bindings = {bindings, 2},
                       .arch = (IsaLevel)(CUDA_SM80 + i % 3),
                       .storage = i % 2 ? DTYPE_BF16 : DTYPE_F32};
        assert_true(cuda_kernels_add(&k, &m));
    }
    keep(&k, is_recurrence, 14);
    check_kernels(&k);
}

static bool is_long(const CompiledKernel *k) {
    return k->program->skeleton == TILE_STREAM && k->program->ops.len > 140;
}

// Attention over depth in two phases, at real sizes: scalars of all pairs of a source and a
// query; and of all small weights the norm of their gradients and their update.
static void test_depth(void **state) {
    (void)state;
    const Setting sizes[][3] = {{SET("d", "1024"), SET("n", "4"), SET("s", "8")},
                                {SET("d", "4096"), SET("n", "8"), SET("s", "8")},
                                {SET("d", "7168"), SET("n", "9"), SET("s", "4")},
                                {SET("d", "2048"), SET("n", "32"), SET("s", "4")}};
    const Binding binding = {STR("T"), 8192};
    CudaKernels k;
    cuda_kernels_init(&k);
    for (int i = 0; i < 4; i++) {
        CudaModel m = {.path = "tests/bench/depth_block_bf16.strata",
                       .kind = i < 2 ? ENTRY_GRAD : ENTRY_INFER,
                       .settings = {sizes[i], 3},
                       .bindings = {&binding, 1},
                       .arch = (IsaLevel)(CUDA_SM80 + (i + 1) % 3),
                       .storage = DTYPE_BF16};
        assert_true(cuda_kernels_add(&k, &m));
    }
    keep(&k, is_long, 5);
    check_kernels(&k);
}

// Streams that are mixed by small matrices: of a layer, and what is made of many layers at
// once.
static void test_streams(void **state) {
    (void)state;
    const Setting schemes[][3] = {
        {SET("size", "tiny"), SET("layers", "1"), SET("residual", "mhc")},
        {SET("size", "tiny"), SET("layers", "6"), SET("residual", "hyper")}};
    const Binding bindings[] = {{STR("B"), 8}, {STR("T"), 256}};
    CudaKernels k;
    cuda_kernels_init(&k);
    for (int i = 0; i < 6; i++) {
        CudaModel m = {.path = "models/lm.strata",
                       .kind = ENTRY_TRAIN,
                       .settings = {schemes[i % 2], 3},
                       .bindings = {bindings, 2},
                       .arch = (IsaLevel)(CUDA_SM80 + i / 2),
                       .storage = (i + i / 2) % 2 ? DTYPE_F32 : DTYPE_BF16};
        assert_true(cuda_kernels_add(&k, &m));
    }
    keep(&k, is_long, 20);
    check_kernels(&k);
}

static bool is_longest(const CompiledKernel *k) {
    return k->program->skeleton == TILE_STREAM && k->program->ops.len > 480;
}

// Gradients of mixes of all outputs, and of heads, whose scalars blocks share: their rows are
// narrow, and what the compiler needs beside them is hardest to tell.
static void test_narrow_mixes(void **state) {
    (void)state;
    const Setting mixes[] = {SET("residual", "sigmoid"), SET("residual", "input_query"),
                             SET("residual", "heads")};
    const Binding bindings[] = {{STR("B"), 8}, {STR("T"), 256}};
    CudaKernels k;
    cuda_kernels_init(&k);
    for (int i = 0; i < 3; i++) {
        CudaModel m = {.path = "models/lm.strata",
                       .kind = ENTRY_GRAD,
                       .settings = {&mixes[i], 1},
                       .bindings = {bindings, 2},
                       .arch = CUDA_SM90A,
                       .storage = DTYPE_BF16};
        assert_true(cuda_kernels_add(&k, &m));
    }
    keep(&k, is_longest, 7);
    check_kernels(&k);
}

int main(void) {
    Arena arena = {0};
    bool there = nvrtc_version(&arena).len > 0;
    arena_release(&arena);
    if (!there) {
        fputs("skipped: no NVRTC; tools/deps.sh fetches it\n", stderr);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sm80),          cmocka_unit_test(test_sm90a),
        cmocka_unit_test(test_sm100a),        cmocka_unit_test(test_contractions),
        cmocka_unit_test(test_many_operands), cmocka_unit_test(test_experts_and_attention),
        cmocka_unit_test(test_streams),       cmocka_unit_test(test_depth),
        cmocka_unit_test(test_recurrences),   cmocka_unit_test(test_narrow_mixes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
