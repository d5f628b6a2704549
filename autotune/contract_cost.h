// contract_cost.h: what a contraction's loops look like, and an estimate of how long it takes.
#pragma once

#include "codegen/emitter.h"
#include "ir/region_to_tile.h"

typedef struct {
    bool direct;     // read from memory as it is, without guards or maps
    bool gathered;   // likewise, but each k is a row somewhere
    int64_t across;  // stride along m (of a) or n (of b), in elements
    int64_t along;   // stride along the innermost k
    int64_t bytes;   // of what one point of the grid reads
} ContractOperand;

typedef struct {
    int64_t m, n;
    int64_t k, inner_k;  // all of k, and its innermost dimension
    int64_t points;      // of the grid
    int32_t parts;       // of k, in the grid; their sums are added by a second kernel. 1: whole
    ContractOperand a, b;
    bool pairs;  // the level multiplies pairs of neighbouring k, and both operands are bf16
    int lanes, registers;
    uint32_t threads;
} ContractShape;

// Of a CONTRACT region, with k in `parts`, or as few as it can be cut into.
ContractShape contract_shape(const Regions *regions, const Region *region, IsaLevel level,
                             uint32_t threads, int32_t parts);
// Cycles until the last thread is done. Every knob of LOOP is set in the schedule.
double contract_cost(const ContractShape *c, const Schedule *s);
// May pack_b = 0 sum by vectors along k (codegen/llvm/loop_dot.c)?
bool contract_dot_form(const ContractShape *c);
// k that one element of the register kernel holds, 1 or 2, in tasks of so many rows, and
// whether rows must be copied for it (codegen/llvm/loop.c).
int contract_pair(const ContractShape *c, int64_t rows, bool dot_form);
bool contract_copies_rows(const ContractShape *c, int pair);
// Into how many strands k is best cut (codegen/llvm/loop_ahead.c); 0: none.
int64_t contract_strands(const ContractShape *c);
