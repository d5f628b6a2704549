// worker.c: the child's work, and the parent's watch over it.
#include "autotune/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

typedef struct {
    WorkerResult incumbent, results[WORKER_BATCH_MAX];
} Shared;

// What the child reports, a byte each.
// BROKEN: a result, after which the GPU cannot be used by this process any more.
enum { REPORT_READY, REPORT_RESULT, REPORT_INCUMBENT_FAILED, REPORT_BROKEN };

// ---- the child

typedef struct {
    const WorkerBatch *batch;
    Shared *shared;
    Arena arena;
    Diag diag;
    Pool *pool;
    LoadedCandidate incumbent;
    bool has_incumbent, broken;
    double incumbent_ns;
} Child;

static void note(WorkerResult *result, Str text) {
    snprintf(result->note, sizeof result->note, "%.*s", STR_ARG(text));
}

static Str last_message(const Child *child) {
    uint32_t count = child->diag.item_count;
    return count ? child->diag.items[count - 1].message : STR("it failed");
}

static void failed_to_run(const Child *child, WorkerResult *result) {
    result->status = TRIAL_CRASH;
    note(result, last_message(child));
}

static bool is_right(Child *child, LoadedCandidate *c, WorkerResult *result) {
    Workspace outputs = *child->batch->workspace;
    workspace_spoil(&outputs);
    if (!candidate_run_once(c)) {
        failed_to_run(child, result);
        return false;
    }
    result->output = reference_output_hash(child->batch->reference);
    if (!reference_check(child->batch->reference, result->note, sizeof result->note)) {
        result->status = TRIAL_WRONG;
        return false;
    }
    reference_complete(child->batch->reference);
    return true;
}

static void scale(Interval *x, double factor) {
    *x = (Interval){x->median * factor, x->low * factor, x->high * factor};
}

// Against an incumbent the result is the ratio, in the incumbent's recorded time: so results of
// different days can be compared.
static void time_candidate(Child *child, LoadedCandidate *c, WorkerResult *result) {
    Measured mine = {candidate_run, c}, other = {candidate_run, &child->incumbent};
    Measurement *m = &result->measured;
    // The first calls make what later ones use.
    candidate_run(c);
    if (child->has_incumbent) candidate_run(&child->incumbent);
    if (!c->failed)
        measure(&mine, child->has_incumbent ? &other : NULL, &child->batch->measure, m);
    if (c->failed || child->incumbent.failed) {
        *m = (Measurement){0};
        failed_to_run(child, result);
        return;
    }
    for (uint32_t i = 0; i < m->count; i++)
        m->samples[i] /= c->runs;
    scale(&m->time, 1.0 / c->runs);
    if (child->has_incumbent) {
        m->time = m->ratio;
        scale(&m->time, child->incumbent_ns);
    }
    result->status = m->gave_up ? TRIAL_SLOW : TRIAL_OK;
}

static LoadedCandidate loadable(Child *child, const Candidate *c) {
    return (LoadedCandidate){.candidate = c,
                             .level = child->batch->level,
                             .least_ns = child->batch->least_ns,
                             .pool = child->pool,
                             .diag = &child->diag};
}

static void try_candidate(Child *child, uint32_t number) {
    WorkerResult result = {.status = TRIAL_REFUSED};
    LoadedCandidate loaded = loadable(child, &child->batch->candidates[number]);
    if (!candidate_load(&child->diag, &child->arena, child->batch->workspace, &loaded)) {
        note(&result, last_message(child));
    } else {
        if (is_right(child, &loaded, &result)) time_candidate(child, &loaded, &result);
        bool leads = !child->has_incumbent && result.status == TRIAL_OK;
        if (leads) {
            child->incumbent = loaded;
            child->has_incumbent = true;
            child->incumbent_ns = result.measured.time.median;
        }
        child->broken = loaded.failed || child->incumbent.failed;
        if (!leads && !child->broken) candidate_unload(&loaded);
    }
    child->shared->results[number] = result;
}

// The incumbent completes the expected values, and must still be right itself.
static bool take_incumbent(Child *child) {
    const WorkerBatch *batch = child->batch;
    if (!batch->incumbent) return true;
    WorkerResult *result = &child->shared->incumbent;
    *result = (WorkerResult){.status = TRIAL_REFUSED};
    child->incumbent = loadable(child, batch->incumbent);
    if (!candidate_load(&child->diag, &child->arena, batch->workspace, &child->incumbent) ||
        !is_right(child, &child->incumbent, result))
        return false;
    child->has_incumbent = true;
    child->incumbent_ns = batch->incumbent_ns;
    return true;
}

static void quiet(void) {
    int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
}

static bool report_byte(int report, char what) { return write(report, &what, 1) == 1; }

// Whatever the program does about its own crashes, here they are a result.
static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP};

// Interrupts are the parent's business; without a parent there is nobody to work for.
NORETURN static void child_main(const WorkerBatch *batch, Shared *shared, uint32_t first,
                                int report) {
    signal(SIGINT, SIG_IGN);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        signal(crashes[i], SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    quiet();
    Child child = {.batch = batch, .shared = shared};
    diag_init(&child.diag, &child.arena);
    if (!pool_open(&child.diag, batch->threads, &child.pool)) _exit(1);
    if (!take_incumbent(&child)) _exit(!report_byte(report, REPORT_INCUMBENT_FAILED));
    if (!report_byte(report, REPORT_READY)) _exit(1);
    for (uint32_t i = first; i < batch->count; i++) {
        if (batch->deadline > 0 && clock_seconds() > batch->deadline) break;
        try_candidate(&child, i);
        if (!report_byte(report, child.broken ? REPORT_BROKEN : REPORT_RESULT)) break;
        if (child.broken) break;
    }
    _exit(0);
}

// ---- the parent

typedef struct {
    pid_t pid;
    int report;  // read end
} Process;

static bool start(Diag *diag, const WorkerBatch *batch, Shared *shared, uint32_t first,
                  Process *out) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return diag_fail(diag, FAIL_ENVIRONMENT, "cannot make a pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return diag_fail(diag, FAIL_ENVIRONMENT, "cannot start a process: %s", strerror(errno));
    }
    if (pid == 0) child_main(batch, shared, first, ends[1]);
    close(ends[1]);
    *out = (Process){pid, ends[0]};
    return true;
}

static bool stopped(const WorkerBatch *batch) { return batch->stop && *batch->stop; }

// Besides the child's reports.
enum { HEARD_END = 100, HEARD_NOTHING };

// Waits for one report in short turns, so that an interrupt is seen soon.
static int listen_to(const WorkerBatch *batch, const Process *process) {
    enum { TURN_MS = 50 };
    double start = clock_seconds();
    while (clock_seconds() - start < batch->patience && !stopped(batch)) {
        struct pollfd wait = {.fd = process->report, .events = POLLIN};
        if (poll(&wait, 1, TURN_MS) <= 0) continue;
        char report;
        return read(process->report, &report, 1) == 1 ? report : HEARD_END;
    }
    return HEARD_NOTHING;
}

static int finish(Process *process, bool force) {
    int status = 0;
    if (force) kill(process->pid, SIGKILL);
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(process->report);
    return status;
}

static WorkerResult failure(int heard, int status, double patience) {
    WorkerResult result = {.status = TRIAL_CRASH};
    if (heard == HEARD_NOTHING) {
        result.status = TRIAL_TIMEOUT;
        snprintf(result.note, sizeof result.note, "no result within %.3g s", patience);
    } else if (WIFSIGNALED(status)) {
        snprintf(result.note, sizeof result.note, "killed by signal %d", WTERMSIG(status));
    } else {
        snprintf(result.note, sizeof result.note, "exit status %d", WEXITSTATUS(status));
    }
    return result;
}

// Follows one child as far as it gets. Returns the first candidate that another one must do.
static uint32_t follow(const WorkerBatch *batch, const Shared *shared, Process *process,
                       uint32_t first) {
    int heard = listen_to(batch, process);
    uint32_t at = heard == REPORT_READY ? first : WORKER_INCUMBENT;
    while (at < batch->count) {
        heard = listen_to(batch, process);
        if (heard != REPORT_RESULT) break;
        batch->done(batch->context, at, &shared->results[at]);
        at++;
    }
    if (heard == REPORT_BROKEN) {
        finish(process, true);
        batch->done(batch->context, at, &shared->results[at]);
        return at + 1;
    }
    int status = finish(process, heard == HEARD_NOTHING);
    bool ended_well = heard == HEARD_END && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (heard == REPORT_RESULT || stopped(batch) || ended_well) return batch->count;
    WorkerResult result = heard == REPORT_INCUMBENT_FAILED
                              ? shared->incumbent
                              : failure(heard, status, batch->patience);
    // Before any candidate ran, it was the incumbent, if there is one.
    if (at == WORKER_INCUMBENT && !batch->incumbent) at = first;
    batch->done(batch->context, at, &result);
    return at == WORKER_INCUMBENT ? batch->count : at + 1;
}

bool worker_run(Diag *diag, const WorkerBatch *batch) {
    ASSERT(batch->count <= WORKER_BATCH_MAX);
    Shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return diag_fail(diag, FAIL_ENVIRONMENT, "not enough memory for a worker");
    bool ok = true;
    uint32_t first = 0;
    while (ok && first < batch->count && !stopped(batch)) {
        Process process;
        ok = start(diag, batch, shared, first, &process);
        if (ok) first = follow(batch, shared, &process, first);
    }
    munmap(shared, sizeof *shared);
    return ok;
}
