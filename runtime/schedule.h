// schedule.h: learning rates as pure functions of the step.
//
//      lr      ________             constant: warm-up, then lr
//             /        \            cosine:   warm-up, then half a cosine down to the floor
//            /          \  floor    wsd:      warm-up, lr, then `decay` steps down to the floor
//      0    /
//           warmup   decay  steps
#pragma once

#include "base/diag.h"

typedef enum {
    LR_CONSTANT,
    LR_COSINE,
    LR_WSD,       // linear decay
    LR_WSD_SQRT,  // decay by 1 - sqrt(t)
    LR_KIND_COUNT
} LrKind;

typedef struct {
    LrKind kind;
    double lr;       // the peak
    double floor;    // where cosine and wsd end, absolute
    int64_t warmup;  // steps: step s of them has lr * s / warmup; 0: none
    int64_t steps;   // the step that reaches the floor; later ones stay there
    int64_t decay;   // wsd: how many of the steps decay
} LrSchedule;

const char *lr_kind_text(LrKind kind);  // "constant", "cosine", "wsd", "wsd-sqrt"
bool lr_kind_parse(Str text, LrKind *out);

// Rates and lengths make sense (else FAIL_USAGE).
MUST_USE bool lr_schedule_check(Diag *diag, const LrSchedule *s);
// Steps count from 1.
double lr_schedule_at(const LrSchedule *s, int64_t step);
// "cosine lr=0.001 floor=0.0001 warmup=10 steps=100": all that matters to lr_schedule_at, and
// no more.
void lr_schedule_print(const LrSchedule *s, StrBuf *out);
