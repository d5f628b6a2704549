// cost.h: what a graph asks of a machine, counted from the graph alone.
#pragma once

#include "ir/graph/region.h"

typedef struct {
    int64_t parameters, trained;  // elements
    int64_t parameter_bytes;
    int64_t state_bytes;  // of declared states, whatever the context
} GraphHoldings;
// requires: a graph as elaborated; its run-time axes may be open.
GraphHoldings graph_holdings(const Graph *g);

// What the states of a graph of one token (docs/decoding.md) hold for a row.
typedef struct {
    int64_t token;  // of each of its tokens: what later ones read
    int64_t row;    // whatever the context
} GraphKept;
GraphKept graph_kept(const Graph *g);

// requires: simplified, every axis bound.
double graph_flops(const Graph *g);
int64_t graph_tokens(const Graph *g);  // product of the extents of run-time axes of inputs

// Parameters that one token meets: of experts only those that it goes to.
typedef struct {
    double all, without_embeddings;  // those tagged `embedding`
} ActiveParameters;
ActiveParameters graph_active(const Graph *g, Arena *arena);

typedef struct {
    double flops, bytes;
    double pair_flops;  // products of two values of bf16, that a level may multiply in pairs
} RegionCost;
// Every element of its inputs and outputs moved once.
RegionCost region_cost(const Regions *regions, const Region *region);
double value_flops(const Graph *g, ValueId v);
