// tiny_model.h: a model small enough to be written by hand as a plan, with every entry that
// training, evaluation and generation use.
//
//     loss = mean over (B, T) of (w[token] - target / 64)^2, SGD with momentum
#pragma once

#include "runtime/device.h"
#include "runtime/train.h"
#include "tests/runtime/objects/tiny_shape.h"
#include "tests/test.h"

// Tensors of the plan, in this order.
typedef enum {
    TINY_TOKENS,
    TINY_TARGETS,
    TINY_W,
    TINY_MOMENTUM,
    TINY_SEEN,  // a state of the model: tokens seen
    TINY_SUMS,
    TINY_MICRO,
    TINY_LR,
    TINY_STEP,
    TINY_CLIP,
    TINY_LOSS,
    TINY_NORM,
    TINY_REPORT,
    TINY_LOGITS,  // (T, vocab, B)
    TINY_GRAD_W,
    TINY_TENSORS
} TinyTensor;

typedef struct {
    Arena arena;
    Diag diag;
    char directory[40];
    Plan *plan;
    Session *session;
} Tiny;

int tiny_setup(void **state);  // *state is a Tiny with an open session
int tiny_teardown(void **state);

// A plan of its own each time, which a test may change before it opens a session.
Plan *tiny_plan(Diag *diag, Arena *arena);
Str tiny_path(Tiny *f, const char *name);  // in the fixture's directory
// Writes text of n bytes below TINY_VOCAB, in which a byte says something about the next.
Str tiny_text(Tiny *f, const char *name, size_t n);
Str tiny_read(Tiny *f, Str path);
// Forgets what was reported.
void tiny_forget(Tiny *f);
// 12 steps on `data` into `out`.
TrainOptions tiny_options(const Str *data, Str out);
