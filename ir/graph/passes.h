// passes.h: transformations of the graph. Each takes a verified graph and gives a verified
// graph.
#pragma once

#include "ir/graph/graph.h"

// Appends the derivative of the scalar `of` with respect to each of wrt[count] (leaf values or
// any others). grads[i] has exactly the axes of wrt[i], in its order; zeros if `of` does not
// depend on it. Reverse mode; each operation's rule is named in ops.def. requires: `of` has no
// axes and is f32.
void pass_differentiate(Graph *g, ValueId of, const ValueId *wrt, uint32_t count,
                        ValueId *grads);

// Axes of equal name and extent that no operation has two of become one. In place: comes first.
void pass_axes(Graph *g);

// A new graph in which updates that are computed element by element, and sums of all elements
// of what such updates are made of, have one axis: that of a trained parameter of as many
// elements, if there is one. pass_simplify must follow. requires: simplified, every axis bound.
// ensures: same leaves, outputs and updates.
Graph *pass_flat(const Graph *g, Arena *arena);

// A new graph with the same leaves (same numbers, also unused ones), outputs and updates:
// constants folded, common subexpressions shared, dead values gone, reduce_sum(mul) made
// contract, algebra that removes traffic. Axes keep names.
Graph *pass_simplify(const Graph *g, Arena *arena);

// A new graph in which each attention, however it was written, is one ATTEND: so run before
// differentiation, which then needs no scores either. Queries, keys and values have at most
// most_width elements. requires: simplified, every axis bound. ensures: same leaves, outputs
// and updates.
Graph *pass_attend(const Graph *g, Arena *arena, int64_t most_width);
// Why this contraction of a softmax is no ATTEND though it is attention; NULL: it is none.
const char *attend_refusal(const Graph *g, ValueId v, int64_t most_width);

// A new graph in which attention reads of a position what its keys and values are made of,
// and heads' weights are on the side of queries and results: where that is cheaper for one
// query (pass_absorb.c). For graphs of chunks: run before pass_incremental, which then keeps
// less. requires: after pass_attend, every axis bound.  ensures: same leaves, outputs and
// updates.
Graph *pass_absorb(const Graph *g, Arena *arena);

// Decoding.
typedef struct {
    int64_t chunk;  // positions that are computed together, at most all of them
    int64_t live;   // no position reaches it, so that attention with its scores in memory
                    // looks at less; 0: all there are
    // Attention over what is kept is one ATTEND, which sees where its rows are, if keys and
    // values have no more elements together, and values no more; else it has its scores in
    // memory.
    int64_t attend_kept, attend_values;
    DType cache;          // of kept keys and values: F32 or BF16
    Str prefix;           // of inputs over positions, and of outputs
    Str tokens;           // the input i32[rows, positions] of the model
    Str position, count;  // inputs i32[rows] of the result
    Str states;           // prefix of the states' names
} IncrementalRequest;
// A new graph of a chunk of positions, whatever comes before being in states. Row b of a batch
// is at position[b], and has count[b] tokens in the chunk, from its beginning on; what is
// computed behind them means nothing and changes no state. A row begins anew when its position
// is 0. NULL: an operation of the graph cannot be computed so; it and the reason are in diag.
// requires: after pass_attend, every axis bound, no updates.  ensures: parameters as in g.
Graph *pass_incremental(Diag *diag, Arena *arena, const Graph *g,
                        const IncrementalRequest *request);

// A new graph in which each contraction whose weight is gathered is a grouped one
// (CONTRACT_AT), so that no gathered weight exists; run before differentiation, and
// pass_simplify after it. requires: simplified, every axis bound.  ensures: same leaves,
// outputs and updates.
Graph *pass_grouped(const Graph *g, Arena *arena);
// Why this sum of products with a gathered weight is no grouped contraction; NULL: it is none
// such, or it would be one.
const char *grouped_refusal(const Graph *g, ValueId sum);

// Where a softmax-weighted sum over a stack is taken in two phases: sources that several of
// them have in common are read once for all.
typedef enum {
    TWO_PHASE_BYTES,   // where it moves fewer bytes
    TWO_PHASE_NEVER,   // the graph stays as it is
    TWO_PHASE_ALWAYS,  // wherever it can be
} TwoPhase;
// A new graph with softmax-weighted sums over stacks in two phases. Runs before
// differentiation, which then gives the gradients of a block's sources in one pass too;
// pass_simplify must follow, to make equal values one. `training`: gradients will be taken,
// which counts in the bytes. requires: simplified, every axis bound.  ensures: same leaves,
// outputs and updates.
Graph *pass_depth(const Graph *g, Arena *arena, TwoPhase how, bool training);

// A new graph in which the backward part (what the output "loss" does not need) computes again
// what costs more to keep from the forward part than to make from values that are kept:
// elementwise values, row statistics, stacks. Costs are bytes moved; holding a byte from one
// part to the other counts as `held_cost` bytes moved (0: only traffic matters). Contractions
// are never computed again. Run after pass_simplify, which would share the copies again.
// requires: every axis bound.  ensures: same leaves, outputs and updates with the same values.
Graph *pass_recompute(const Graph *g, Arena *arena, double held_cost);
// The graph, or a new one, in which activations and working weights are kept in bf16, and sums,
// row statistics, parameters and their gradients in f32. Outputs with a run-time axis become
// bf16. Comes last: it looks at what kernels will write.
// requires: every axis bound.
Graph *pass_precision(Graph *g, Arena *arena);

// How the values of a graph read a leaf: in bf16 (cast to it at once), or as it is.
typedef struct {
    bool low, high;
} WeightUse;
void weights_find(const Graph *g, WeightUse *use);  // adds to one per leaf
// A new graph in which parameters that are read in bf16 alone are leaves of that type.
// requires: pass_precision before, no parameter is updated.
Graph *pass_weights(const Graph *g, Arena *arena, const WeightUse *use);

// Bytes of the values that the forward part makes, but for rounded parameters, and the backward
// part reads; and how few that could be if no contraction, attention or the like is made again.
int64_t graph_kept_bytes(const Graph *g);
int64_t graph_least_kept_bytes(const Graph *g);
