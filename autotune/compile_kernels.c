// compile_kernels.c: looks every distinct program up, then compiles the rest on several
// threads.
#include "autotune/compile_kernels.h"

#include <pthread.h>
#include <stdatomic.h>

#include "autotune/cuda_compile.h"
#include "base/check.h"

typedef struct {
    const TileProgram *program;
    Hash key;
    EmittedKernel kernel;
    bool known, failed;
    Arena arena;  // what the emitter made, until it is copied
    Diag diag;
} Job;

typedef struct {
    const CompileTarget *target;
    const Diag *lines;  // where spans of the model are looked up
    Str emitter;
    Job *jobs;
    uint32_t count;
    atomic_uint next, done;
} Work;

static bool compile_cuda(const Work *work, Job *job) {
    const CudaCompiler compiler = {.level = work->target->level,
                                   .emitter = work->emitter,
                                   .db = work->target->db,
                                   .lines = work->lines};
    CudaCompiled compiled;
    if (!cuda_compile(&job->diag, &job->arena, &compiler, job->program, &compiled))
        return false;
    job->kernel = compiled.code;
    return true;
}

static bool compile_cpu(const Work *work, Job *job) {
    EmitOptions options = {.level = work->target->level,
                           .lines = work->target->line_tables ? work->lines : NULL};
    if (!emit_kernel(&job->diag, &job->arena, job->program, options, &job->kernel))
        return false;
    if (work->target->db) database_code_add(work->target->db, job->key, &job->kernel);
    return true;
}

static void compile_one(const Work *work, Job *job) {
    arena_init(&job->arena);
    diag_init(&job->diag, &job->arena);
    job->failed = !(level_is_cuda(work->target->level) ? compile_cuda(work, job)
                                                       : compile_cpu(work, job));
}

static void *worker(void *context) {
    Work *work = context;
    for (uint32_t i = atomic_fetch_add(&work->next, 1); i < work->count;
         i = atomic_fetch_add(&work->next, 1)) {
        if (!work->jobs[i].known) compile_one(work, &work->jobs[i]);
        atomic_fetch_add(&work->done, 1);
    }
    return NULL;
}

// The caller compiles too, and reports progress between its own jobs.
static void run_jobs(Work *work) {
    enum { MOST_THREADS = 64 };
    pthread_t threads[MOST_THREADS];
    uint32_t started = 0, wanted = work->target->threads < MOST_THREADS ? work->target->threads
                                                                        : MOST_THREADS;
    while (started + 1 < wanted && started + 1 < work->count &&
           !pthread_create(&threads[started], NULL, worker, work))
        started++;
    for (uint32_t i = atomic_fetch_add(&work->next, 1); i < work->count;
         i = atomic_fetch_add(&work->next, 1)) {
        if (!work->jobs[i].known) compile_one(work, &work->jobs[i]);
        uint32_t done = atomic_fetch_add(&work->done, 1) + 1;
        if (work->target->progress)
            work->target->progress(work->target->progress_context, done, work->count);
    }
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

static bool collect(Diag *diag, Arena *arena, Job *job) {
    if (job->known) return true;
    if (job->failed) {
        const DiagItem *item = job->diag.item_count ? &job->diag.items[0] : NULL;
        diag_fail(diag, job->diag.fail, "kernel '%.*s': %.*s", STR_ARG(job->program->name),
                  item ? (int)item->message.len : 0, item ? item->message.ptr : "");
    } else {
        job->kernel.object = str_copy(arena, job->kernel.object);
        job->kernel.notes = str_copy(arena, job->kernel.notes);
    }
    arena_release(&job->arena);
    return !job->failed;
}

// Code with a line table is of these lines as well.
static Hash program_hash(const TileProgram *p, const Diag *lines) {
    Hash hash = tile_hash(p);
    for (uint32_t i = 1; lines != NULL && i < p->ops.len; i++) {
        Span span = p->ops.ptr[i].span;
        uint32_t line, column;
        if (!span.file) continue;
        diag_line_column(lines, span, &line, &column);
        Str path = diag_source(lines, span.file)->path;
        hash = hash_mix(hash, hash_bytes(path.ptr, path.len));
        hash = hash_mix(hash, hash_bytes(&line, sizeof line));
    }
    return hash;
}

EmittedKernel *compile_kernels(Diag *diag, Arena *arena, const CompileTarget *target,
                               const TileProgram *const *programs, uint32_t count) {
    Map by_hash = {0};
    Job *jobs = arena_array(arena, Job, count);
    uint32_t *job_of = arena_array(arena, uint32_t, count), job_count = 0;
    Str emitter = emitter_version(arena, target->level);
    const Diag *lines = diag->source_count ? diag : NULL;
    for (uint32_t i = 0; i < count; i++) {
        Hash hash = program_hash(programs[i], target->line_tables ? lines : NULL);
        Str key = str_copy(arena, (Str){(const char *)&hash, sizeof hash});
        uint64_t seen;
        if (!map_get(&by_hash, key, &seen)) {
            seen = job_count++;
            map_set(arena, &by_hash, key, seen);
            jobs[seen] =
                (Job){.program = programs[i], .key = code_key(hash, target->level, emitter)};
            jobs[seen].known =
                target->db && !level_is_cuda(target->level) &&
                database_code_find(target->db, arena, jobs[seen].key, &jobs[seen].kernel);
        }
        job_of[i] = (uint32_t)seen;
    }
    Work work = {
        .target = target, .lines = lines, .emitter = emitter, .jobs = jobs, .count = job_count};
    run_jobs(&work);
    bool ok = true;
    for (uint32_t i = 0; i < job_count; i++)
        ok = collect(diag, arena, &jobs[i]) && ok;
    if (!ok) return NULL;
    EmittedKernel *out = arena_array(arena, EmittedKernel, count);
    for (uint32_t i = 0; i < count; i++)
        out[i] = jobs[job_of[i]].kernel;
    return out;
}
