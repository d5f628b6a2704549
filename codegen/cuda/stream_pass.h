// stream_pass.h: a pass over the cols of a row, between what it computes (stream_pass.c) and
// its text (stream_body.c).
#pragma once

#include "codegen/cuda/stream.h"

// How a pass knows a value at the cols.
typedef enum {
    FORM_NONE,
    FORM_LOCAL,   // a variable of the loop over elements
    FORM_ARRAY,   // one variable an element
    FORM_PACKED,  // one an element pair
} Form;

typedef struct {
    Stream *s;
    Level *level;
    int round;
    bool *in;      // operations at the cols that this pass computes or reads
    bool *stored;  // values that it stores
    Form *form;    // of what it computes or reads
    bool *again;   // packed values of earlier passes that the element has unpacked
    // A pass in groups (stream_group.c): by end, its group; NULL: all is one. `there`: what was
    // loaded before the groups.
    const int *group;
    int number, groups;
    const bool *there;
} Pass;
enum { ALL_GROUPS = -1 };  // the whole pass

// stream_pass.c
bool pass_left(const Pass *pass, uint32_t i);   // did an earlier pass leave it in registers?
bool pass_ends(const Pass *pass, uint32_t i);   // a reduction or store that this pass makes
bool pass_early(const Pass *pass, uint32_t i);  // a load that needs no value of this pass
static inline bool pass_loads(const TileOp *op) {
    return op->kind == TILE_LOAD || op->kind == TILE_GATHER;
}

// What this group computes and reads, but for values that are there before.
Pass pass_of_group(const Pass *pass, int group, const bool *there);
// A pass for these alone, which are kept; adds the values to what is there.
Pass pass_of_values(const Pass *pass, bool *there, const bool *values);
void pass_part(Pass *pass);  // arrays, loads, elements and stores of a pass or a group
void needs_measure(Pass *pass);

// stream_group.c
void groups_plan(Pass *pass);
void groups_write(Pass *pass);

// stream_body.c, in the order of the text
void pass_reduces_declare(Pass *pass);
void pass_arrays(Pass *pass);
void pass_load_all(Pass *pass);
void pass_elements(Pass *pass);
void pass_store_all(Pass *pass);
void pass_team_reduces(Pass *pass);

// Loops over a thread's vectors, and over the cols of one where that is not a whole access.
Str cols_name(const Stream *s);
void cols_open(Stream *s);
CudaPoint cols_singles_open(Stream *s);  // gives the point of a single col
void cols_singles_close(Stream *s);
