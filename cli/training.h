// training.h: options of train_run from the command line.
#pragma once

#include "cli/cli.h"
#include "runtime/train.h"

// Everything but where to write and whom to tell.
MUST_USE bool training_options(Cli *cli, int64_t steps, TrainOptions *out);
