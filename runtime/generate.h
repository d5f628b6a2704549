// generate.h: text from a trained model, token by token; several texts at once, each in a row
// of the batch.
//
// With the entries "prefill" and "decode" (docs/decoding.md) a prompt is read in chunks, and
// then one token at a time; what was read is in states. When a row has read as many tokens as
// there are positions, it begins anew with the later half of them. Without these entries every
// token runs "infer" over the last T tokens, padded on the right: the model is causal, so that
// padding changes nothing before it.
#pragma once

#include <signal.h>

#include "runtime/model_io.h"
#include "runtime/sampler.h"

typedef struct {
    const Str *prompts;  // their bytes are tokens; an empty one: starts after a newline
    uint32_t prompt_count;
    int64_t tokens;           // to generate of each
    SamplerSettings sampler;  // row i draws by the seed + i
    // Gets every generated token at once (prompts are not repeated); false stops. With a
    // vocabulary of bytes a token is a byte.
    bool (*emit)(void *context, uint32_t row, uint32_t token);
    void *context;
    const volatile sig_atomic_t *stop;  // not 0: return early; may be NULL
} GenerateOptions;

typedef struct {
    int64_t prompt_tokens, tokens;  // read, of all prompts; generated, of each
    double seconds;
    bool interrupted;  // by `stop`
} GenerateResult;

// The plan needs input tokens[B, T] (of its entries: see names.h) and the output logits over B,
// T and the vocabulary, in any order. Parameters are loaded.
MUST_USE bool generate_run(Diag *diag, Arena *arena, Session *s, const GenerateOptions *options,
                           GenerateResult *out);
// Token ids that the plan's model reads are below it.
MUST_USE bool generate_vocab(Diag *diag, const Plan *plan, int64_t *out);
