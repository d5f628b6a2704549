// run.h: one evaluation: inputs from a file, an entry, its results to a file.
#pragma once

#include "runtime/device.h"

typedef struct {
    const char *entry;  // names.h
    Str params;         // file of parameters (params_load); empty: as the session has them
    Str inputs;         // every input that the entry reads, by name; may be empty if none is
    Str out;            // safetensors: every output that the entry gives; empty: none
    bool states;        // and the states after it
} RunOptions;

MUST_USE bool run_entry(Diag *diag, Session *s, const RunOptions *options);
