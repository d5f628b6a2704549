// train.h: the training loop over a plan's entries "train", or "accumulate" and "apply", and
// "eval" (names: names.h).
//
// The directory gets metrics.jsonl, one object a step, and checkpoints (checkpoint.h). Its
// "step", "tokens", "loss", "bits_per_byte" (tokens are bytes), "lr", "grad_norm" (the plan has
// it), "tokens_per_second", "ms", every "report.*" of one axis or none
// (lists of up to 4096 numbers), and, when evaluated after that step,
// "eval_loss" and "eval_bits_per_byte". A resumed run gives the same numbers, bit for bit, as
// one that never stopped (but for the times).
#pragma once

#include <signal.h>

#include "runtime/device.h"
#include "runtime/schedule.h"

// A step done.
typedef struct {
    int64_t step, steps;  // from 1
    int64_t tokens;       // seen so far
    double loss, lr;
    double bits_per_byte;                  // NAN unless tokens are bytes
    double grad_norm;                      // NAN if the plan has none
    double eval_loss, eval_bits_per_byte;  // NAN when not evaluated after this step
    double tokens_per_second, ms;
} TrainStep;

typedef struct {
    const Str *data, *eval_data;  // files
    uint32_t data_count, eval_count;
    int64_t steps;  // the last step; a resumed run goes on up to it
    LrSchedule schedule;
    double clip;           // largest global gradient norm; infinity or 0: no clipping
    uint32_t accumulate;   // micro-batches a step, each of the plan's B rows; 0 means 1
    uint64_t seed;         // of the parameters and of the data
    Str out;               // directory, made if need be; empty when resuming: where that is
    Str resume;            // directory or checkpoint; empty: a new run
    Str optimizer;         // name and settings, as text: kept to warn when resumed with others
    int64_t eval_every;    // steps; 0: after the last one
    int64_t eval_windows;  // at most so many; 0: all
    int64_t checkpoint_every;           // steps; 0: after the last one
    uint32_t keep;                      // checkpoints; 0 means 2
    const volatile sig_atomic_t *stop;  // not 0: finish the step, save, return; may be NULL
    void (*progress)(void *context, const TrainStep *step);  // may be NULL
    void *context;
} TrainOptions;

typedef struct {
    int64_t first_step;  // the first one done here; last.step + 1 if none
    TrainStep last;      // the last one done here
    double seconds;
    bool interrupted;     // by `stop`; the state is saved
    Str checkpoint;       // the last one written
    Str params, metrics;  // paths; params is empty when interrupted
} TrainResult;

// Initialises the session's tensors (from the seed or the checkpoint) and trains. False: a
// non-finite loss (the last checkpoint is kept), a bad file, a full disk. Strings of the result
// live in the arena.
MUST_USE bool train_run(Diag *diag, Arena *arena, Session *s, const TrainOptions *options,
                        TrainResult *out);
