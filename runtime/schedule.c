// schedule.c: learning rates by step.
#include "runtime/schedule.h"

#include <math.h>

#include "base/check.h"

static const char *const kind_texts[LR_KIND_COUNT] = {
    [LR_CONSTANT] = "constant",
    [LR_COSINE] = "cosine",
    [LR_WSD] = "wsd",
    [LR_WSD_SQRT] = "wsd-sqrt",
};

const char *lr_kind_text(LrKind kind) {
    ASSERT((unsigned)kind < LR_KIND_COUNT);
    return kind_texts[kind];
}

bool lr_kind_parse(Str text, LrKind *out) {
    for (unsigned kind = 0; kind < LR_KIND_COUNT; kind++) {
        if (!str_eq(text, str_of(kind_texts[kind]))) continue;
        *out = (LrKind)kind;
        return true;
    }
    return false;
}

static bool decays(LrKind kind) { return kind == LR_WSD || kind == LR_WSD_SQRT; }

bool lr_schedule_check(Diag *diag, const LrSchedule *s) {
    if (!isfinite(s->lr) || s->lr < 0)
        return diag_fail(diag, FAIL_USAGE, "a learning rate of %g is not possible", s->lr);
    if (s->warmup < 0)
        return diag_fail(diag, FAIL_USAGE, "a warm-up of %lld steps is not possible",
                         (long long)s->warmup);
    if (s->kind == LR_CONSTANT) return true;
    if (!(s->floor >= 0 && s->floor <= s->lr)) {
        return diag_fail(diag, FAIL_USAGE,
                         "the last learning rate is %g; it must be in [0, %g], the largest one",
                         s->floor, s->lr);
    }
    if (s->warmup > s->steps) {
        return diag_fail(diag, FAIL_USAGE, "a warm-up of %lld steps does not fit %lld steps",
                         (long long)s->warmup, (long long)s->steps);
    }
    if (decays(s->kind) && (s->decay < 0 || s->decay > s->steps - s->warmup)) {
        return diag_fail(diag, FAIL_USAGE,
                         "a decay of %lld steps does not fit %lld steps after the warm-up",
                         (long long)s->decay, (long long)(s->steps - s->warmup));
    }
    return true;
}

// How much of the way from lr to the floor is done, where `t` in (0, 1) of its time is.
static double descent(LrKind kind, double t) {
    const double pi = 3.14159265358979323846;
    switch (kind) {
    case LR_CONSTANT: return 0;
    case LR_COSINE: return 0.5 - 0.5 * cos(pi * t);
    case LR_WSD: return t;
    case LR_WSD_SQRT: return sqrt(t);
    case LR_KIND_COUNT: break;
    }
    BUG("schedule %d", (int)kind);
}

double lr_schedule_at(const LrSchedule *s, int64_t step) {
    if (step < s->warmup) return s->lr * (double)step / (double)s->warmup;
    if (s->kind == LR_CONSTANT) return s->lr;
    int64_t start = decays(s->kind) ? s->steps - s->decay : s->warmup;
    if (step >= s->steps) return s->kind != LR_COSINE && !s->decay ? s->lr : s->floor;
    if (step <= start) return s->lr;
    double t = (double)(step - start) / (double)(s->steps - start);
    return s->lr - (s->lr - s->floor) * descent(s->kind, t);
}

void lr_schedule_print(const LrSchedule *s, StrBuf *out) {
    strbuf_addf(out, "%s lr=", lr_kind_text(s->kind));
    strbuf_add_double(out, s->lr);
    if (s->kind != LR_CONSTANT) {
        strbuf_addz(out, " floor=");
        strbuf_add_double(out, s->floor);
    }
    if (s->warmup) strbuf_addf(out, " warmup=%lld", (long long)s->warmup);
    if (s->kind != LR_CONSTANT) strbuf_addf(out, " steps=%lld", (long long)s->steps);
    if (decays(s->kind)) strbuf_addf(out, " decay=%lld", (long long)s->decay);
}
