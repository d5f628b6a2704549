// test_cuda_stream.c: every STREAM kernel of the models as CUDA, run on the CPU against the
// interpreter and compiled for each architecture.
#include "base/map.h"
#include "cli/pipeline.h"
#include "ir/region_to_tile.h"
#include "tests/codegen/cuda_bench.h"

typedef struct {
    const char *path, *size;
    DType storage;
    int64_t batch, context;
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

// Sums have a few hundred terms at most, of numbers below 2 in magnitude, and pass through a
// dozen operations that each round once.
static CudaCheck check_usual(void) {
    return (CudaCheck){.range = 1, .whole = 20, .tolerance = 1e-4};
}

static void add_region(Kernels *k, const Regions *regions, const Region *region,
                       IsaLevel arch) {
    Schedule schedule = schedule_none();
    TileKernels *kernels = region_to_tile(regions, region, &schedule, &k->bench.arena);
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        const TileProgram *p = kernels->kernels[i].program;
        if (p->skeleton == TILE_STREAM && is_new(k, p))
            cuda_bench_add(&k->cuda, cuda_stream, p, arch, check_usual());
    }
}

static void add_model(Kernels *k, const Case *c, IsaLevel arch) {
    Arena *arena = &k->bench.arena;
    Diag *diag = &k->bench.diag;
    Setting settings[] = {{STR("size"), str_of(c->size)}};
    Binding bindings[] = {{STR("B"), c->batch}, {STR("T"), c->context}};
    TrainSetup setup = {.optimizer = STR("adamw")};
    Model model;
    Graph *graph;
    assert_true(model_load(diag, arena, str_of(c->path), (Settings){settings, 1}, &model));
    ModelGraphRequest request = {&model,     ENTRY_TRAIN, {bindings, 2},  &setup,
                                 c->storage, arch,        TWO_PHASE_BYTES};
    assert_true(model_graph(diag, arena, &request, &graph));
    Regions *regions = pass_fuse(graph, arena);
    for (uint32_t i = 0; i < regions->count; i++)
        add_region(k, regions, &regions->regions[i], arch);
}

static void check_model(const Case *c) {
    Kernels k = {0};
    bench_open(&k.bench);
    k.cuda = (CudaBench){.bench = &k.bench, .quick = true};
    add_model(&k, c, CUDA_SM90A);
    print_message("%s: %u kernels\n", c->path, k.cuda.kernels.len);
    cuda_bench_run(&k.cuda);
    bench_close(&k.bench);
}

static void compile_model(const Case *c, IsaLevel arch) {
    Kernels k = {0};
    bench_open(&k.bench);
    k.cuda.bench = &k.bench;
    add_model(&k, c, arch);
    cuda_bench_compile(&k.cuda, arch);
    bench_close(&k.bench);
}

static const Case cases[] = {
    {"models/prenorm.strata", "tiny", DTYPE_F32, 2, 21},
    {"models/attnres_full.strata", "tiny", DTYPE_F32, 2, 21},
    {"models/attnres_block.strata", "tiny", DTYPE_BF16, 2, 21},
};

static void prenorm(void **state) {
    (void)state;
    check_model(&cases[0]);
}

static void attnres_full(void **state) {
    (void)state;
    check_model(&cases[1]);
}

static void attnres_block_in_bf16(void **state) {
    (void)state;
    check_model(&cases[2]);
}

static void compiles(void **state) {
    (void)state;
    compile_model(&cases[0], CUDA_SM80);
    compile_model(&cases[1], CUDA_SM100A);
    compile_model(&cases[2], CUDA_SM90A);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prenorm),
        cmocka_unit_test(attnres_full),
        cmocka_unit_test(attnres_block_in_bf16),
        cmocka_unit_test(compiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
