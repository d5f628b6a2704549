// options.h: the command line, taken apart and checked as far as it can be without a model.
#pragma once

#include "base/diag.h"
#include "base/vec.h"
#include "frontend/ast_to_graph.h"

typedef enum {
#define COMMAND(NAME, ...) COMMAND_##NAME,
#include "cli/commands.def"
#undef COMMAND
    COMMAND_COUNT
} Command;
const char *command_name(Command command);

// One --vary: values are kept as written.
typedef struct {
    Str name;
    const Str *values;
    uint32_t count;
} Variation;

typedef Vec(Str) StrList;
typedef Vec(Setting) SettingList;
typedef Vec(Variation) VariationList;

// Numbers that the user left out are -1, texts empty.
typedef struct {
    Command command;
    Str model;         // the first operand
    StrList operands;  // those after it
    SettingList settings, optimizer_settings;
    int64_t batch, context;
    Str target, dtype, layout, db;
    uint32_t threads;  // always at least 1
    uint64_t seed;
    Str stage, region, params, inputs, output, mode, two_phase, from, map;
    bool grad, state, reference, decode, training, kernels, prefill;
    double budget_seconds;  // one of the two
    int64_t budget_trials, shard_bytes;
    StrList data, eval_data, compare;
    Str out, resume, schedule, metrics;
    StrList prompts;
    Str optimizer;  // empty: adamw, or the artifact's
    int64_t steps, warmup, accumulate, eval_every, checkpoint_every, keep, tokens, seeds;
    double lr, floor, clip, temperature, top_p;
    VariationList variations;
    bool json;
    int verbosity;  // -1: quiet, 0, 1 and more: verbose
} Options;

// False: what is wrong is in diag, FAIL_USAGE or, for what this strata cannot do,
// FAIL_ENVIRONMENT. Exits after printing help or the version, if asked to.
MUST_USE bool options_parse(Diag *diag, Arena *arena, int argc, char **argv, Options *out);
