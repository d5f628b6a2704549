// sampler.c: a token from logits.
#include "runtime/sampler.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/rng.h"

bool sampler_init(Diag *diag, Arena *arena, SamplerSettings settings, uint32_t vocab,
                  Sampler *out) {
    ASSERT(vocab);
    if (!isfinite(settings.temperature) || settings.temperature < 0) {
        return diag_fail(diag, FAIL_USAGE, "a temperature of %g is not possible",
                         settings.temperature);
    }
    if (!(settings.top_p > 0 && settings.top_p <= 1)) {
        return diag_fail(diag, FAIL_USAGE, "a top-p of %g is not possible; it is in (0, 1]",
                         settings.top_p);
    }
    *out = (Sampler){.settings = settings, .vocab = vocab};
    out->choices = arena_array(arena, SamplerChoice, vocab);
    return true;
}

// The best token, and every token's logit as its weight.
static bool read_logits(Diag *diag, Sampler *s, const Logits *logits, uint32_t *best) {
    double most = -HUGE_VAL;
    for (uint32_t i = 0; i < s->vocab; i++) {
        int64_t at = logits->first + (int64_t)i * logits->stride;
        double x = dtype_get(logits->type, logits->data, at);
        if (isnan(x) || x == HUGE_VAL) {
            return diag_fail(diag, FAIL_INPUT, "the model gives token %u a logit of %s", i,
                             isnan(x) ? "NaN" : "infinity");
        }
        s->choices[i] = (SamplerChoice){x, i};
        if (x <= most) continue;
        most = x;
        *best = i;
    }
    return most > -HUGE_VAL ||
           diag_fail(diag, FAIL_INPUT, "the model gives every token a logit of -infinity");
}

static int compare_choices(const void *left, const void *right) {
    const SamplerChoice *a = left, *b = right;
    if (a->weight != b->weight) return a->weight > b->weight ? -1 : 1;
    return (a->token > b->token) - (a->token < b->token);
}

// Sorts, and returns how many of the first choices have the share top_p.
static uint32_t keep_top(Sampler *s, double *total) {
    qsort(s->choices, s->vocab, sizeof *s->choices, compare_choices);
    double share = s->settings.top_p * *total, sum = 0;
    uint32_t count = 0;
    while (count < s->vocab && sum < share)
        sum += s->choices[count++].weight;
    *total = sum;
    return count;
}

bool sampler_draw(Diag *diag, Sampler *s, const Logits *logits, uint64_t position,
                  uint32_t *token) {
    uint32_t best = 0;
    if (!read_logits(diag, s, logits, &best)) return false;
    *token = best;
    if (s->settings.temperature == 0) return true;
    double most = s->choices[best].weight, total = 0;
    for (uint32_t i = 0; i < s->vocab; i++) {
        double *weight = &s->choices[i].weight;
        *weight = exp((*weight - most) / s->settings.temperature);
        total += *weight;
    }
    uint32_t count = s->settings.top_p < 1 ? keep_top(s, &total) : s->vocab;
    double at = total * rng_uniform(rng_u64(s->settings.seed, UINT64_MAX), position), sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        // Rounding may leave `at` at the very end: the last possible token then stands.
        if (!(s->choices[i].weight > 0)) continue;
        *token = s->choices[i].token;
        sum += s->choices[i].weight;
        if (at < sum) break;
    }
    return true;
}
