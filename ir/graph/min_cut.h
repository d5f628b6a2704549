// min_cut.h: the cheapest set of edges whose removal parts a source from a sink.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/vec.h"

#define CUT_NEVER (INT64_MAX / 4)  // cost of an edge that must not be cut

typedef struct {
    uint32_t to, next;  // next: edge out of the same node, or UINT32_MAX
    int64_t room;       // what more may flow
} CutEdge;

typedef struct {
    Arena *arena;
    uint32_t nodes;
    uint32_t *first;     // per node: an edge out of it
    Vec(CutEdge) edges;  // edge e and its reverse e ^ 1 are neighbours
} CutNet;

void cut_init(CutNet *net, Arena *arena, uint32_t nodes);
void cut_edge(CutNet *net, uint32_t from, uint32_t to, int64_t cost);  // cost: 0 .. CUT_NEVER
// Per node, whether it stays on the sink's side. Of several cheapest cuts the one nearest to
// the sink is given. requires: a cut that needs no CUT_NEVER edge; the costs of all others sum
// to less than CUT_NEVER.
bool *cut_sink_side(CutNet *net, uint32_t source, uint32_t sink);
