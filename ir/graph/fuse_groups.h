// fuse_groups.h: the groups that pass_fuse grows, and what makes a group legal. Private to
// pass_fuse.
#pragma once

#include "ir/graph/region.h"

typedef struct {
    const AxisId *axes;  // in storage order
    uint32_t count;
} Cols;

typedef struct {
    uint32_t id, first, last, size;  // members: a list through Fuse.next, in graph order
    uint64_t *space;                 // set of the axes of all members and what they read
    Cols cols;
    bool constrained;  // a member reduces: the choice of cols matters
    bool sealed;       // joins nothing
    ValueId contract;  // the contraction of a contraction's group
} Group;

typedef struct {
    const Graph *graph;
    Arena *arena;
    const ValueHome *homes;
    uint32_t axis_count, set_words;
    bool *unrolled;                 // per axis
    bool *roots;                    // per value
    bool *early;                    // per value: the loss needs it, through a contraction
    bool *again;                    // per value: not early, and made of early values alone
    uint32_t *users, *users_at;     // users of v: users[users_at[v] .. users_at[v + 1])
    Group *groups;                  // per value: its own group to begin with
    ValueId *laid_in;               // per value: see Regions
    ValueId *base;                  // per value: what it is a view of, or itself
    uint64_t **own;                 // per value: the space of the value alone
    uint64_t *rows;                 // scratch: the rows of a union
    uint32_t *parent, *next;        // union-find; member lists
    uint32_t *stack, *seen, stamp;  // of the path search
    Region *regions;
    uint32_t region_count;
    struct Refusal *refusals;
    uint32_t refusal_count, refusal_cap;
} Fuse;

Fuse *fuse_new(const Graph *g, Arena *arena);
Group *fuse_group(Fuse *f, ValueId v);  // of a computed value

// The value behind BROADCAST, TRANSPOSE and TAKE of an unrolled axis, which cost nothing inside
// a kernel.
ValueId fuse_through_views(const Fuse *f, ValueId v);
// NULL if operand i of v could stand in v's kernel, else why not: it must be read just where it
// is computed, and not be one that goes through memory.
const char *fuse_edge_refused(const Fuse *f, uint32_t v, uint32_t i);
// Is there a path from p to q through a third group? Then they cannot be one kernel.
bool fuse_path_around(Fuse *f, const Group *p, const Group *q);

// Does one of the groups belong to the forward part and the other not? What the backward part
// computes again would then be computed at once and kept, in vain. Only behind the last
// contraction does the one part turn into the other.
bool fuse_parts_differ(const Fuse *f, const Group *p, const Group *q);

// NULL if p and q together are a legal group with these cols, else the reason why not.
const char *group_union_legal(Fuse *f, Group *p, Group *q, const Cols *cols);
// How many values in memory the kernel of p and q would read and store.
uint32_t group_union_pointers(Fuse *f, const Group *p, const Group *q);
uint32_t group_union_tiles(Fuse *f, const Group *p, const Group *q);  // of such values
bool fuse_unrolled_all(const Fuse *f, const AxisId *axes, uint32_t count);
// Are the points of axis a, if the group has it, separate tiles?
bool group_unrolls(const Fuse *f, const Group *p, AxisId a);
bool group_same_space(const Fuse *f, const Group *p, const Group *q);
void group_join(Fuse *f, Group *p, Group *q, const Cols *cols);
bool axis_set_has(const uint64_t *set, uint32_t axis);

// fuse_regions.c: the regions of all groups that make something, in an order that can be
// executed; and which values lie within stacks.
void fuse_emit_regions(Fuse *f);
