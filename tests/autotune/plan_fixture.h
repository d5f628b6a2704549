// plan_fixture.h: what tests of plans start from: a database in memory and a request for the
// plan of one graph, the entry "forward".
#pragma once

#include "autotune/graph_to_plan.h"

typedef struct {
    Arena arena;
    Diag diag;
    Database *db;
    PlanRequestEntry entry;
    PlanRequest plan;
} PlanFixture;

// The graph may be made in the arena afterwards: entry.graph.
void plan_fixture_open(PlanFixture *f, IsaLevel level);
void plan_fixture_close(PlanFixture *f);
