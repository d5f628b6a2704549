// conversion.h: what import and export share.
#pragma once

#include "cli/cli.h"
#include "runtime/mapping_run.h"

typedef struct {
    Mapping mapping;
    MapPlan plan;
    Progress progress;
} Conversion;

// The model's tensors and the mapping of --map.
MUST_USE bool conversion_open(Cli *cli, Conversion *out);
// Ctrl-C stops, progress is shown as `what`.
MapWatch conversion_watch(Cli *cli, Conversion *c, const char *what);
// The result; on stderr what was left out.
void conversion_report(Cli *cli, const MapReport *report);
