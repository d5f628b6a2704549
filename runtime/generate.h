// generate.h: text from a trained model, token by token. Every token runs the entry "infer"
// over the last T tokens, padded on the right: the model is causal, so that padding changes
// nothing before it.
#pragma once

#include <signal.h>

#include "runtime/model_io.h"
#include "runtime/sampler.h"

typedef struct {
    Str prompt;      // its bytes are tokens; empty: starts after a newline
    int64_t tokens;  // to generate
    SamplerSettings sampler;
    // Gets every generated token at once (the prompt is not repeated); false stops. With a
    // vocabulary of bytes a token is a byte.
    bool (*emit)(void *context, uint32_t token);
    void *context;
    const volatile sig_atomic_t *stop;  // not 0: return early; may be NULL
} GenerateOptions;

typedef struct {
    int64_t prompt_tokens, tokens;  // read, generated
    double seconds;
    bool interrupted;  // by `stop`
} GenerateResult;

// The plan needs the input tokens[B, T] (row 0 is used) and the output logits over B, T and the
// vocabulary, in any order. Parameters are loaded.
MUST_USE bool generate_run(Diag *diag, Arena *arena, Session *s, const GenerateOptions *options,
                           GenerateResult *out);
