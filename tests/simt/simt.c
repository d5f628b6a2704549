// simt.c: compiling kernels for the CPU, and launching them in a child process.
#include "tests/simt/simt.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/io.h"
#include "tests/simt/machine.h"

#define PAGE           ((size_t)4096)
#define LAUNCH_SECONDS 120

struct Simt {
    void *object;
    SimtLink *link;
    const SimtEntry *entries;
    const CudaKernel *kernels;
    uint32_t count;
};

// ---- compiling

static const char *compiler_find(void) {
    const char *chosen = getenv("CXX");
    if (chosen && *chosen) return chosen;
    if (system("command -v g++ >/dev/null 2>&1") == 0) return "g++";
    if (system("command -v clang++ >/dev/null 2>&1") == 0) return "clang++";
    return NULL;
}

bool simt_available(void) {
#ifdef __SANITIZE_THREAD__
    return false;  // ThreadSanitizer does not follow fibers
#else
    return compiler_find();
#endif
}

static const char models[] = "#include \"prelude.cuh\"\n#include \"wgmma.cuh\"\n"
                             "#include \"stream.cuh\"\n#include \"chunk.cuh\"\n";
static const char ptx[] = "#include \"ptx.cuh\"\n";

// Each text in a namespace and with its own name for `kernel`; then the table of entries.
static void print_source(StrBuf *out, const CudaKernel *kernels, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        strbuf_addf(out,
                    "#undef SIMT_SECTION\n#define SIMT_SECTION \"simt_shared_%u\"\n"
                    "#define kernel simt_kernel_%u\nnamespace simt_%u {\n"
                    "#line 1 \"kernel_%u.cu\"\n%.*s\n}\n#undef kernel\n",
                    i, i, i, i, STR_ARG(kernels[i].text));
    strbuf_addz(out, "#line 1 \"entries\"\n");
    for (uint32_t i = 0; i < count; i++)
        strbuf_addf(out,
                    "extern \"C\" unsigned char __start_simt_shared_%u[] SIMT_EDGE;\n"
                    "extern \"C\" unsigned char __stop_simt_shared_%u[] SIMT_EDGE;\n"
                    "static void simt_run_%u() "
                    "{ simt_call(simt_%u::simt_kernel_%u); }\n",
                    i, i, i, i, i);
    strbuf_addz(out, "const SimtEntry simt_entries[] = {\n");
    for (uint32_t i = 0; i < count; i++)
        strbuf_addf(out, "    {simt_run_%u, __start_simt_shared_%u, __stop_simt_shared_%u},\n",
                    i, i, i);
    strbuf_addz(out, "};\n");
}

static void remove_files(const char *directory) {
    static const char *const names[] = {"batch.cpp", "batch.o", "batch.so", "log"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

// The instrumentation of every access needs no library: prelude.cuh has the functions.
static bool compile(Diag *diag, Arena *arena, const char *directory) {
    const char *compiler = compiler_find();
    if (!compiler)
        return diag_fail(diag, FAIL_ENVIRONMENT, "no C++ compiler: install g++ or set CXX");
    const char *root = STRATA_TEST_SOURCE_DIR;
    Str command =
        str_printf(arena,
                   "cd %s && %s -std=c++17 -O1 -w -fPIC -fno-strict-aliasing "
                   "-fno-exceptions -fno-rtti -ffp-contract=off -fsanitize=thread "
                   "-I%s/tests/simt -I%s/codegen/cuda -I%s -c batch.cpp -o batch.o 2>log && "
                   "%s -shared batch.o -o batch.so -lm 2>>log",
                   directory, compiler, root, root, root, compiler);
    if (system(command.ptr) == 0) return true;
    Str log;
    if (!io_read(diag, arena, str_printf(arena, "%s/log", directory), &log)) return false;
    return diag_fail(diag, FAIL_INPUT, "kernels do not compile for the CPU:\n%.*s",
                     STR_ARG(log));
}

static bool load(Diag *diag, const char *directory, Simt *simt) {
    char path[256];
    snprintf(path, sizeof path, "%s/batch.so", directory);
    simt->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!simt->object) return diag_fail(diag, FAIL_ENVIRONMENT, "%s", dlerror());
    simt->link = dlsym(simt->object, "simt_link");
    simt->entries = dlsym(simt->object, "simt_entries");
    const size_t *bytes = dlsym(simt->object, "simt_link_bytes");
    ASSERT(simt->link && simt->entries && bytes);
    if (*bytes != sizeof *simt->link)
        return diag_fail(diag, FAIL_ENVIRONMENT,
                         "prelude.cuh is newer than this program: build it again");
    return true;
}

// kernels: simt->count, behind `headers`.
static bool build(Diag *diag, Arena *arena, const char *headers, Simt *simt) {
    const char *root = getenv("TMPDIR");
    char directory[128];
    snprintf(directory, sizeof directory, "%s/simt-XXXXXX", root && *root ? root : "/tmp");
    if (!mkdtemp(directory))
        return diag_fail(diag, FAIL_ENVIRONMENT, "cannot make a directory like %s", directory);
    StrBuf source = {0};
    strbuf_addz(&source, headers);
    print_source(&source, simt->kernels, simt->count);
    Str path = str_printf(arena, "%s/batch.cpp", directory);
    bool ok = io_write(diag, path, source.ptr, source.len) && compile(diag, arena, directory) &&
              load(diag, directory, simt);
    strbuf_release(&source);
    remove_files(directory);
    return ok;
}

bool simt_build(Diag *diag, Arena *arena, const CudaKernel *kernels, uint32_t count,
                Simt **out) {
    *out = arena_new(arena, Simt);
    **out = (Simt){.kernels = kernels, .count = count};
    return build(diag, arena, models, *out);
}

bool simt_build_plain(Diag *diag, Arena *arena, const CudaKernel *kernels, uint32_t count,
                      Simt **out) {
    *out = arena_new(arena, Simt);
    **out = (Simt){.kernels = kernels, .count = count};
    return build(diag, arena, ptx, *out);
}

void simt_close(Simt *simt) {
    if (simt->object) dlclose(simt->object);
    simt->object = NULL;
}

// ---- schedules

const char *simt_schedule_text(SimtSchedule s) {
    static const char *const texts[SIMT_ORDERS][SIMT_COMPLETIONS] = {
        {"forward order, eager completion", "forward order, late completion",
         "forward order, any completion"},
        {"reverse order, eager completion", "reverse order, late completion",
         "reverse order, any completion"},
        {"random order, eager completion", "random order, late completion",
         "random order, any completion"},
        {"starving order, eager completion", "starving order, late completion",
         "starving order, any completion"},
    };
    return texts[s.order][s.completion];
}

// ---- launching

// One launch as the child and the parent see it. `results`, in memory that both share, has the
// arguments one after the other.
typedef struct {
    const Simt *simt;
    uint32_t kernel;
    SimtArgs args;
    unsigned char *results;
    size_t bytes;
    Report *report;
    uint32_t same_as[SIMT_ARGUMENTS];  // the first argument at the same address
} Job;

static void *map_shared(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(p != MAP_FAILED);
    return p;
}

// Memory that ends (or, if `low`, starts) at an inaccessible page, at a multiple of 16 bytes.
static void map_guarded(Argument *a, bool low) {
    size_t room = (a->bytes + PAGE) / PAGE * PAGE;
    a->mapped = room + 2 * PAGE;
    a->mapping = map_shared(a->mapped);
    unsigned char *p = a->mapping;
    int rc = mprotect(p, PAGE, PROT_NONE) + mprotect(p + PAGE + room, PAGE, PROT_NONE);
    ASSERT(rc == 0);
    a->data = low ? p + PAGE : p + PAGE + (room - a->bytes) / 16 * 16;
}

static void map_arguments(const Job *job, Machine *m, bool low) {
    m->argument_count = job->args.len;
    for (uint32_t i = 0; i < job->args.len; i++) {
        const SimtArg *from = &job->args.ptr[i];
        Argument *a = &m->arguments[i];
        *a = (Argument){.bytes = from->bytes, .name = str_of(from->name)};
        if (job->same_as[i] < i)
            a->data = m->arguments[job->same_as[i]].data;
        else
            map_guarded(a, low);
        // Lookups find the first argument at an address, so a second needs no cells.
        if (job->same_as[i] == i) a->cells = map_shared((a->bytes / 2 + 1) * sizeof *a->cells);
        memcpy(a->data, from->data, a->bytes);
    }
}

static void unmap_arguments(const Machine *m) {
    for (uint32_t i = 0; i < m->argument_count; i++) {
        const Argument *a = &m->arguments[i];
        if (!a->mapping) continue;
        munmap(a->mapping, a->mapped);
        munmap(a->cells, (a->bytes / 2 + 1) * sizeof *a->cells);
    }
}

static void run_schedule(const Job *job, Machine *m, SimtSchedule schedule, bool first) {
    m->schedule = schedule;
    map_arguments(job, m, schedule.order == SIMT_REVERSE || schedule.order == SIMT_STARVE);
    for (uint32_t i = 0; i < job->args.len; i++)
        m->link->arguments[i] = m->arguments[i].data;
    for (uint32_t i = 0; i < m->launch.map_count; i++) {
        m->link->maps[i][0] = SIMT_MAP_MARK;
        m->link->maps[i][1] = i;
        m->link->arguments[job->args.len + i] = m->link->maps[i];
    }
    machine_run(m);
    unsigned char *at = job->results;
    for (uint32_t i = 0; i < job->args.len; i++) {
        const Argument *a = &m->arguments[i];
        if (first) memcpy(at, a->data, a->bytes);
        for (size_t b = 0; b < a->bytes; b++)
            if (at[b] != a->data[b])
                machine_fail(m, "byte %zu of '%.*s' differs from another schedule's", b,
                             STR_ARG(a->name));
        at += a->bytes;
    }
    unmap_arguments(m);
}

NORETURN static void child(const Job *job, const SimtSchedule *schedules, uint32_t count) {
    // The test's own handlers would go on with the next test, in the child.
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    alarm(LAUNCH_SECONDS);
    Machine *m = map_shared(sizeof *m);
    m->entry = &job->simt->entries[job->kernel];
    m->launch = job->simt->kernels[job->kernel].launch;
    m->report = job->report;
    m->link = job->simt->link;
    *m->link = (SimtLink){.machine = m,
                          .calls = {
#define CALL(result, name, parameters) .name = call_##name,
#include "tests/simt/calls.def"
                          }};
    for (uint32_t i = 0; i < count; i++)
        run_schedule(job, m, schedules[i], i == 0);
    _exit(0);
}

static bool report_failure(Diag *diag, const Job *job, int status) {
    const Report *r = job->report;
    const char *text = r->text, *when = simt_schedule_text(r->schedule);
    if (WIFEXITED(status) && *text)
        return diag_fail(diag, FAIL_INPUT, "kernel %u, %s: %s", job->kernel, when, text);
    if (WIFEXITED(status))
        return diag_fail(diag, FAIL_INPUT, "kernel %u, %s: exit status %d", job->kernel, when,
                         WEXITSTATUS(status));
    const char *why =
        WTERMSIG(status) == SIGALRM ? "it does not end" : strsignal(WTERMSIG(status));
    return diag_fail(diag, FAIL_INPUT, "kernel %u, %s: %s (thread %u of block %u)", job->kernel,
                     when, why, r->place.thread.x, r->place.block.x);
}

static void find_same(Job *job) {
    for (uint32_t i = 0; i < job->args.len; i++) {
        const SimtArg *a = &job->args.ptr[i];
        job->same_as[i] = i;
        for (uint32_t j = 0; j < i; j++) {
            const char *p = a->data, *q = job->args.ptr[j].data;
            if (p == q && job->same_as[i] == i) {
                ASSERT(a->bytes <= job->args.ptr[j].bytes);
                job->same_as[i] = j;
            }
            ASSERT(p == q || p + a->bytes <= q || q + job->args.ptr[j].bytes <= p);
        }
        job->bytes += a->bytes;
    }
}

static bool launch(Diag *diag, Job job, const SimtSchedule *schedules, uint32_t count) {
    ASSERT(job.kernel < job.simt->count && job.args.len + LAUNCH_MAX_MAPS <= SIMT_ARGUMENTS);
    find_same(&job);
    job.results = map_shared(job.bytes + 1);
    job.report = map_shared(sizeof *job.report);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) child(&job, schedules, count);
    int status;
    pid_t ended = waitpid(pid, &status, 0);
    ASSERT(ended == pid);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ok) report_failure(diag, &job, status);
    const unsigned char *at = job.results;
    for (uint32_t i = 0; ok && i < job.args.len; at += job.args.ptr[i++].bytes)
        memcpy(job.args.ptr[i].data, at, job.args.ptr[i].bytes);
    munmap(job.results, job.bytes + 1);
    munmap(job.report, sizeof *job.report);
    return ok;
}

bool simt_launch(Diag *diag, const Simt *simt, uint32_t kernel, SimtArgs args,
                 SimtSchedule schedule) {
    Job job = {.simt = simt, .kernel = kernel, .args = args};
    return launch(diag, job, &schedule, 1);
}

bool simt_check(Diag *diag, const Simt *simt, uint32_t kernel, SimtArgs args) {
    SimtSchedule all[SIMT_ORDERS * SIMT_COMPLETIONS];
    for (uint32_t i = 0; i < SIMT_ORDERS * SIMT_COMPLETIONS; i++)
        all[i] = (SimtSchedule){.order = (SimtOrder)(i / SIMT_COMPLETIONS),
                                .completion = (SimtCompletion)(i % SIMT_COMPLETIONS),
                                .seed = i};
    Job job = {.simt = simt, .kernel = kernel, .args = args};
    return launch(diag, job, all, SIMT_ORDERS * SIMT_COMPLETIONS);
}
