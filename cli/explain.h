// explain.h: the parts of `explain` share this.
#pragma once

#include "cli/cost.h"
#include "cli/machine.h"

// explain_residual.c: bytes that connecting sublayers moves in a forward pass, by the sublayer
// for whose input they are first needed: reads of data by kernels in as far as they compute
// inputs from outputs, and what they store of it. Neither the writing of an output, nor what a
// sublayer does to its input, is part of it.
typedef struct {
    Str name;
    double read, written;  // bytes
    bool stored;           // its input: else it stays in registers
} SublayerTraffic;
typedef struct {
    SublayerTraffic *items;
    uint32_t count;  // 0: the model marks no sublayers
    double unit;     // bytes of one output
} ResidualTraffic;
MUST_USE bool residual_traffic(Cli *cli, const Model *model, ResidualTraffic *out);
void residual_text(const ResidualTraffic *r, StrBuf *out);
void residual_json(const ResidualTraffic *r, JsonWriter *w);

typedef struct {
    Cli *cli;
    const Graph *g;
    const Regions *regions;
    Machine machine;
    uint32_t *region_of;  // per value: region + 1; 0: in none
    ResidualTraffic residual;
} Explain;

typedef struct {
    const Region *region;
    RegionCost cost;
    double floor_ns, tuned_ns;  // NAN: no machine to run on; 0: not tuned
    bool by_memory;             // the floor is
    Schedule schedule;          // tuned, or the prior's
} Kernel;

// A leaf by its path, another value by the kernel that makes it.
Str explain_value_name(const Explain *e, ValueId v);

// explain_code.c: of a target that is a GPU: what the kernels do to the layouts of values, and
// what the compiler has said of them, if the database has their code.
void explain_code_text(const Explain *e, const Kernel *k);
void explain_code_json(const Explain *e, const Kernel *k);
