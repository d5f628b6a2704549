// Every kernel of every model compiles for every GPU that Strata knows, with nothing spilled
// and nothing that the compiler says is slow; on sm_90a the contractions of bf16 are wgmma on
// tiles that tensor copies bring.
#include <pthread.h>
#include <stdatomic.h>

#include "autotune/graph_to_plan.h"
#include "cli/pipeline.h"
#include "codegen/cuda/cuda.h"
#include "tests/test.h"

typedef struct {
    const TileProgram *program;
    CpuLevel arch;
    char failure[400];  // empty: all is well
} Job;

typedef struct {
    Arena arena;
    Diag diag;
    Map seen;  // program and architecture
    Vec(Job) jobs;
    atomic_uint next;
} Bench;

static void job_add(Bench *b, const TileProgram *p, CpuLevel arch) {
    Hash hash = tile_hash(p);
    Str key = str_printf(&b->arena, "%llx %llx %d", (unsigned long long)hash.lo,
                         (unsigned long long)hash.hi, (int)arch);
    if (map_get(&b->seen, key, NULL)) return;
    map_set(&b->arena, &b->seen, key, 1);
    vec_push(&b->arena, &b->jobs, ((Job){.program = p, .arch = arch}));
}

static void add_model(Bench *b, const char *path, CpuLevel arch, DType storage) {
    Model model;
    Graph *g;
    const Setting size = {STR("size"), STR("tiny")};
    assert_true(model_load(&b->diag, &b->arena, str_of(path), (Settings){&size, 1}, &model));
    const Binding bindings[] = {{STR("B"), 2}, {STR("T"), 64}};
    TrainSetup setup = {.optimizer = STR("adamw")};
    ModelGraphRequest request = {&model, ENTRY_TRAIN, {bindings, 2}, &setup, storage, arch};
    assert_true(model_graph(&b->diag, &b->arena, &request, &g));
    PlanRequest plan = {.target = {.level = arch}};
    ScheduleChooser chooser;
    schedule_chooser_init(&chooser, &b->arena, &plan);
    const Regions *regions = pass_fuse(g, &b->arena);
    for (uint32_t i = 0; i < regions->count; i++) {
        const Region *region = &regions->regions[i];
        Schedule schedule = schedule_choose(&chooser, regions, region);
        TileKernels *kernels = region_to_tile(regions, region, &schedule, &b->arena);
        for (uint32_t k = 0; k < kernels->kernel_count; k++)
            job_add(b, kernels->kernels[k].program, arch);
    }
}

// Both operands in 16 bits, read from memory as they are.
static bool is_plain_contraction(const TileProgram *p) {
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

static void job_run(Job *job) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    CudaKernel kernel;
    CudaCode code;
    CubinCounts counts = {0};
    if (!cuda_emit(&diag, &arena, job->program, job->arch, NULL, &kernel) ||
        !nvrtc_compile(&diag, &arena, kernel.text, job->arch, &code) ||
        !cubin_count(&diag, code.cubin, &counts)) {
        snprintf(job->failure, sizeof job->failure, "%.300s", diag.items[0].message.ptr);
    } else if (code.spill_bytes || code.stack_bytes || code.notes.len) {
        snprintf(job->failure, sizeof job->failure, "%u bytes spilled, %u of stack; %.*s",
                 code.spill_bytes, code.stack_bytes, STR_ARG(code.notes));
    } else if (job->arch == CUDA_SM90A && is_plain_contraction(job->program) &&
               (!counts.wgmma || !counts.tensor_copies)) {
        snprintf(job->failure, sizeof job->failure, "%u wgmma, %u tensor copies", counts.wgmma,
                 counts.tensor_copies);
    }
    arena_release(&arena);
}

static void *worker(void *context) {
    Bench *b = context;
    for (uint32_t i = atomic_fetch_add(&b->next, 1); i < b->jobs.len;
         i = atomic_fetch_add(&b->next, 1))
        job_run(&b->jobs.ptr[i]);
    return NULL;
}

static void check_arch(CpuLevel arch) {
    static const char *const models[] = {"models/prenorm.strata", "models/attnres_full.strata",
                                         "models/attnres_block.strata"};
    Bench b = {0};
    diag_init(&b.diag, &b.arena);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        add_model(&b, models[i], arch, DTYPE_BF16);
    add_model(&b, "models/attnres_block.strata", arch, DTYPE_F32);
    assert_true(b.jobs.len > 40);
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, worker, &b), 0);
    worker(&b);
    pthread_join(other, NULL);
    uint32_t failures = 0;
    vec_each (const Job, job, &b.jobs) {
        if (!job->failure[0]) continue;
        failures++;
        fprintf(stderr, "%s: %.*s: %s\n", cpu_level_text(arch), STR_ARG(job->program->name),
                job->failure);
    }
    arena_release(&b.arena);
    assert_int_equal(failures, 0);
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

int main(void) {
    Arena arena = {0};
    bool there = nvrtc_version(&arena).len > 0;
    arena_release(&arena);
    if (!there) {
        fputs("skipped: no NVRTC; tools/deps.sh fetches it\n", stderr);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sm80),
                                       cmocka_unit_test(test_sm90a),
                                       cmocka_unit_test(test_sm100a)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
