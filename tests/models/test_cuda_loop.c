// test_cuda_loop.c: every LOOP kernel of the models by LOOP_CP, run on the CPU against the
// interpreter and compiled for each architecture.
#include "cli/pipeline.h"
#include "ir/region_to_tile.h"
#include "tests/codegen/cuda_bench.h"

typedef struct {
    const char *path;
    DType storage;
    int64_t batch, context;
    EntryKind kind;
} Case;

typedef struct {
    TileBench bench;
    CudaBench cuda;
    Vec(Hash) seen;
} Kernels;

static bool is_new(Kernels *k, const TileProgram *p) {
    Hash hash = tile_hash(p);
    vec_each (Hash, seen, &k->seen)
        if (hash_eq(*seen, hash)) return false;
    vec_push(&k->bench.arena, &k->seen, hash);
    return true;
}

// Each product and each of k sums is rounded once; numbers are below 1 in magnitude, and an
// epilogue has a dozen operations.
static CudaCheck check_of(const TileProgram *p) {
    double k = 1;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_K) k *= (double)p->dims[d].extent;
    return (CudaCheck){.range = 1, .whole = 20, .tolerance = (k + 16) * 0x1p-23 * 4};
}

static void add_region(Kernels *k, const Regions *regions, const Region *region,
                       IsaLevel arch) {
    Schedule schedule = schedule_none();
    TileKernels *kernels = region_to_tile(regions, region, &schedule, &k->bench.arena);
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        const TileProgram *p = kernels->kernels[i].program;
        if (p->skeleton == TILE_LOOP && is_new(k, p))
            cuda_bench_add(&k->cuda, cuda_loop_cp, p, arch, check_of(p));
    }
}

static void add_model(Kernels *k, const Case *c, IsaLevel arch) {
    Arena *arena = &k->bench.arena;
    Diag *diag = &k->bench.diag;
    Setting settings[] = {{STR("size"), STR("tiny")}, {STR("vocab"), STR("40")}};
    Binding bindings[] = {{STR("B"), c->batch}, {STR("T"), c->context}};
    TrainSetup setup = {.optimizer = STR("adamw")};
    Model model;
    Graph *graph;
    assert_true(model_load(diag, arena, str_of(c->path), (Settings){settings, 2}, &model));
    ModelGraphRequest request = {.model = &model,
                                 .kind = c->kind,
                                 .bindings = {bindings, 2},
                                 .setup = &setup,
                                 .storage = c->storage,
                                 .level = arch};
    assert_true(model_graph(diag, arena, &request, &graph));
    Regions *regions = pass_fuse(graph, arena);
    for (uint32_t i = 0; i < regions->count; i++)
        add_region(k, regions, &regions->regions[i], arch);
}

static const Case cases[] = {
    {"models/prenorm.strata", DTYPE_F32, 2, 21, ENTRY_TRAIN},
    {"models/prenorm.strata", DTYPE_BF16, 2, 24, ENTRY_TRAIN},
    {"models/attnres_full.strata", DTYPE_F32, 2, 24, ENTRY_TRAIN},
    {"models/attnres_full.strata", DTYPE_BF16, 1, 19, ENTRY_FORWARD},
    {"models/attnres_block.strata", DTYPE_F32, 1, 16, ENTRY_INFER},
    {"models/attnres_block.strata", DTYPE_BF16, 2, 16, ENTRY_TRAIN},
};
enum { CASES = sizeof cases / sizeof *cases };

// Equal programs of several models run once.
static void add_all(Kernels *k, IsaLevel arch) {
    for (int i = 0; i < CASES; i++)
        add_model(k, &cases[i], arch);
    assert_true(k->cuda.kernels.len > 20);
}

static void test_results(void **state) {
    (void)state;
    Kernels k = {0};
    bench_open(&k.bench);
    k.cuda = (CudaBench){.bench = &k.bench, .quick = true};
    add_all(&k, CUDA_SM80);
    cuda_bench_run(&k.cuda);
    bench_close(&k.bench);
}

// At the extents of a small training run.
static void compile_case(const Case *c, IsaLevel arch) {
    Kernels k = {0};
    bench_open(&k.bench);
    k.cuda.bench = &k.bench;
    Case larger = *c;
    larger.batch = 8;
    larger.context = 256;
    add_model(&k, &larger, arch);
    cuda_bench_compile(&k.cuda, arch);
    bench_close(&k.bench);
}

static void test_compiles(void **state) {
    (void)state;
    compile_case(&cases[1], CUDA_SM80);
    compile_case(&cases[2], CUDA_SM90A);
    compile_case(&cases[5], CUDA_SM100A);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_compiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
