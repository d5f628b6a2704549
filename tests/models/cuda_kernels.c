// cuda_kernels.c: see cuda_kernels.h.
#include "tests/models/cuda_kernels.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"

void cuda_kernels_init(CudaKernels *k) {
    *k = (CudaKernels){0};
    diag_init(&k->diag, &k->arena);
}

void cuda_kernels_release(CudaKernels *k) { arena_release(&k->arena); }

static void kernel_add(CudaKernels *k, const TileProgram *p, IsaLevel arch) {
    Hash hash = tile_hash(p);
    Str key = str_printf(&k->arena, "%llx %llx %d", (unsigned long long)hash.lo,
                         (unsigned long long)hash.hi, (int)arch);
    if (map_get(&k->seen, key, NULL)) return;
    map_set(&k->arena, &k->seen, key, 1);
    vec_push(&k->arena, &k->kernels, ((CompiledKernel){.program = p, .arch = arch}));
}

bool cuda_kernels_add(CudaKernels *k, const CudaModel *m) {
    Model model;
    Graph *g;
    TrainSetup setup = {.optimizer = STR("adamw")};
    ModelGraphRequest request = {&model,     m->kind, m->bindings,     &setup,
                                 m->storage, m->arch, TWO_PHASE_BYTES, 0};
    if (!model_load(&k->diag, &k->arena, str_of(m->path), m->settings, &model) ||
        !model_graph(&k->diag, &k->arena, &request, &g))
        return false;
    PlanRequest plan = {.target = {.level = m->arch}};
    ScheduleChooser chooser;
    schedule_chooser_init(&chooser, &k->arena, &plan);
    const Regions *regions = pass_fuse(g, &k->arena);
    for (uint32_t i = 0; i < regions->count; i++) {
        const Region *region = &regions->regions[i];
        Schedule schedule = schedule_choose(&chooser, regions, region);
        TileKernels *kernels = region_to_tile(regions, region, &schedule, &k->arena);
        for (uint32_t n = 0; n < kernels->kernel_count; n++)
            kernel_add(k, kernels->kernels[n].program, m->arch);
    }
    return true;
}

void cuda_kernel_compile(CompiledKernel *k) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    const CudaCompiler compiler = {.level = k->arch};
    CudaCompiled made;
    double before = clock_thread_seconds();
    if (!cuda_compile(&diag, &arena, &compiler, k->program, &made) ||
        !cubin_count(&diag, made.code.object, &k->counts))
        snprintf(k->failure, sizeof k->failure, "%.300s", diag.items[0].message.ptr);
    else if (made.code.notes.len)
        snprintf(k->failure, sizeof k->failure, "%.*s", STR_ARG(made.code.notes));
    k->seconds = clock_thread_seconds() - before;
    k->code = made.code;
    k->code.object = k->code.notes = (Str){0};
    arena_release(&arena);
}

typedef struct {
    CudaKernels *kernels;
    atomic_uint next;
} Work;

static void *worker(void *context) {
    Work *work = context;
    CudaKernels *k = work->kernels;
    for (uint32_t i = atomic_fetch_add(&work->next, 1); i < k->kernels.len;
         i = atomic_fetch_add(&work->next, 1))
        cuda_kernel_compile(&k->kernels.ptr[i]);
    return NULL;
}

void cuda_kernels_compile(CudaKernels *k) {
    Work work = {.kernels = k};
    pthread_t other;
    bool two = pthread_create(&other, NULL, worker, &work) == 0;
    worker(&work);
    if (two) pthread_join(other, NULL);
}
