// checkpoint.h: the whole state of a training run in one safetensors file.
//
//     DIR/checkpoint-100.safetensors    parameters, states, metadata; written whole or not at
//     all DIR/latest                        symbolic link to the newest, moved when that is on
//     disk DIR/params.safetensors            what running the model needs, at the end
//
// A process may be killed at any moment: `latest` then names a whole checkpoint.
#pragma once

#include "runtime/safetensors.h"

// Something that has to be the same for a resumed run to continue as if it had never stopped.
typedef struct {
    const char *key;
    Str value;
    bool strict;  // another value is an error; else a warning
} CheckpointSetting;

typedef struct {
    int64_t step;    // steps done; the next batch is that of step + 1
    int64_t tokens;  // seen so far
    uint64_t seed;
    const CheckpointSetting *settings;
    uint32_t setting_count;
} Checkpoint;

Str checkpoint_path(Arena *arena, Str directory, int64_t step);
// Writes the checkpoint and moves `latest`. NaN in a tensor is an error, and the checkpoints
// before stay.
MUST_USE bool checkpoint_write(Diag *diag, Session *s, Str directory, const Checkpoint *c);
// The file to resume from: a directory's latest, or `path` itself if it is a file.
MUST_USE bool checkpoint_find(Diag *diag, Arena *arena, Str path, Str *out);
// Checks everything (checksum, model, names, shapes, seed and settings of `c`), fills the
// session and sets c's step and tokens.
MUST_USE bool checkpoint_load(Diag *diag, Session *s, Str path, Checkpoint *c);
// Removes all but the newest `keep` checkpoints up to `step`, and what killed writers left. A
// file that cannot be removed stays.
void checkpoint_prune(Str directory, int64_t step, uint32_t keep);
// Parameters and the model's own states (not the optimiser's).
MUST_USE bool checkpoint_write_params(Diag *diag, Session *s, Str path);
// For use, not for training: parameters must be there, states may be. The file is one of
// parameters or a whole checkpoint. Call session_init first for the states that it lacks.
MUST_USE bool params_load(Diag *diag, Session *s, Str path);
