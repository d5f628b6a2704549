// sampler.h: one token from logits: temperature, then top-p; greedy at temperature 0.
#pragma once

#include "base/diag.h"
#include "base/dtype.h"

typedef struct {
    double temperature;  // 0: the most probable token
    double top_p;        // the fewest most probable tokens with at least this share; 1: all
    uint64_t seed;
} SamplerSettings;

typedef struct {
    double weight;
    uint32_t token;
} SamplerChoice;

typedef struct {
    SamplerSettings settings;
    uint32_t vocab;
    SamplerChoice *choices;  // (vocab)
} Sampler;

// Settings out of range are FAIL_USAGE.
MUST_USE bool sampler_init(Diag *diag, Arena *arena, SamplerSettings settings, uint32_t vocab,
                           Sampler *out);

// The logits of one position: element i is at logits[i * stride].
typedef struct {
    DType type;
    const void *data;
    int64_t first, stride;  // elements
} Logits;
// A function of the logits, the settings and `position` alone; among equals the smaller token
// wins. -inf excludes a token; NaN, +inf or nothing but -inf is an error.
MUST_USE bool sampler_draw(Diag *diag, Sampler *s, const Logits *logits, uint64_t position,
                           uint32_t *token);
