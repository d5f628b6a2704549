// evaluate_loss.c: the mean loss over windows, batch by batch.
#include "runtime/evaluate_loss.h"

#include <math.h>

#include "base/clock.h"
#include "base/integer.h"
#include "runtime/names.h"

typedef struct {
    Diag *diag;
    Session *session;
    const Dataset *data;
    const PlanEntry *entry;
    uint32_t loss;  // tensor
    ModelIo io;
} Evaluator;

double loss_bits_per_byte(const Dataset *data, double loss) {
    for (uint32_t i = 0; i < data->file_count; i++) {
        if (data->files[i].token_bytes != 1) return (double)NAN;
    }
    return loss / log(2);
}

// The loss of the batch of windows from `first`; *valid of its rows exist.
static bool run_batch(const Evaluator *e, int64_t first, int64_t *valid, double *loss) {
    Batch batch = model_io_batch(e->session, &e->io);
    *valid = dataset_windows(e->data, first, &batch);
    return session_run(e->diag, e->session, e->entry) &&
           model_io_read(e->diag, e->session, e->loss, loss);
}

// The sum of the losses of `count` windows. Rows past the last window repeat it, so a batch
// that is not full counts the last window too often, by as much as a batch of that window alone
// tells.
static bool sum_losses(const Evaluator *e, const EvaluateOptions *options, int64_t count,
                       double *sum) {
    int64_t rows = e->io.rows;
    for (int64_t first = 0; first < count; first += rows) {
        if (options->stop && *options->stop)
            return diag_fail(e->diag, FAIL_INTERRUPTED, "interrupted");
        int64_t valid, all;
        double loss, last = 0;
        if (!run_batch(e, first, &valid, &loss)) return false;
        if (valid < rows && !run_batch(e, count - 1, &all, &last)) return false;
        *sum += loss * (double)rows - last * (double)(rows - valid);
        if (options->progress) options->progress(options->context, first + valid, count);
    }
    return true;
}

static bool prepare(Evaluator *e) {
    const Plan *plan = session_plan(e->session);
    if (!model_io_entry(e->diag, plan, ENTRY_NAME_EVAL, &e->entry)) return false;
    if (!model_io_find(e->diag, plan, true, &e->io)) return false;
    int loss = model_io_scalar(plan, TENSOR_OUTPUT, NAME_LOSS);
    if (loss < 0)
        return diag_fail(e->diag, FAIL_INPUT, "model '%.*s' has no loss", STR_ARG(plan->model));
    e->loss = (uint32_t)loss;
    return true;
}

bool evaluate_loss(Diag *diag, Session *s, const Dataset *data, const EvaluateOptions *options,
                   EvaluateResult *out) {
    Evaluator e = {.diag = diag, .session = s, .data = data};
    if (!prepare(&e)) return false;
    int64_t count = dataset_window_count(data, e.io.context), rows = e.io.rows;
    int64_t most = round_up(options->window_max, rows);
    if (most && most < count) count = most;
    double sum = 0, before = clock_seconds();
    if (!sum_losses(&e, options, count, &sum)) return false;
    double seconds = clock_seconds() - before;
    int64_t tokens = count * e.io.context;
    *out = (EvaluateResult){.loss = sum / (double)count,
                            .seconds = seconds,
                            .tokens_per_second = (double)tokens / seconds,
                            .windows = count,
                            .tokens = tokens};
    out->bits_per_byte = loss_bits_per_byte(data, out->loss);
    return true;
}
