// evaluate_loss.h: the mean loss over all windows of a data set.
#pragma once

#include <signal.h>

#include "runtime/model_io.h"

typedef struct {
    int64_t window_max;                 // 0: all windows; else the first ones, in whole batches
    const volatile sig_atomic_t *stop;  // not 0: give up (FAIL_INTERRUPTED); may be NULL
    void (*progress)(void *context, int64_t windows_done, int64_t windows);  // may be NULL
    void *context;
} EvaluateOptions;

typedef struct {
    double loss;           // mean over the windows
    double bits_per_byte;  // NAN unless every file is text, whose bytes are the tokens
    double tokens_per_second, seconds;
    int64_t windows, tokens;
} EvaluateResult;

// Runs the entry "eval" over the windows of dataset_windows(). The plan's loss must be the mean
// of the losses of its rows; the data set was opened with the plan's context.
MUST_USE bool evaluate_loss(Diag *diag, Session *s, const Dataset *data,
                            const EvaluateOptions *options, EvaluateResult *out);
// bits_per_byte of a loss in nats.
double loss_bits_per_byte(const Dataset *data, double loss);
