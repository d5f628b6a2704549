// session.h: a model or artifact, ready to run.
#pragma once

#include "cli/cli.h"

typedef struct {
    Plan *plan;
    Session *session;
} Loaded;

// Entries of the command's MODEL: compiled for the extents of cli_bindings(batch), or read from
// an artifact. Close with session_close(out->session), also after a failure.
MUST_USE bool loaded_open(Cli *cli, EntryKinds entries, int64_t batch, Loaded *out);
