// machine.h: this machine, as the tuning database knows it.
#pragma once

#include "autotune/peaks.h"
#include "cli/cli.h"

TuneContext machine_context(Cli *cli);
// The database is opened, if it can be.
MUST_USE bool machine_measure(Cli *cli, const TuneContext *context, MachinePeaks *out);
