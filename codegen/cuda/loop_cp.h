// loop_cp.h: the parts of the skeleton LOOP_CP share this. docs/cuda.md describes the kernel.
#pragma once

#include "codegen/cuda/loop_cp_choice.h"
#include "codegen/cuda/loop_value.h"

typedef enum {
    FILL_WIDE,      // copied 16 bytes at a time, past the registers
    FILL_NARROW,    // the same, 4 bytes at a time
    FILL_COMPUTED,  // computed in registers, then stored
} CpFill;

// An operand's tile in shared memory is rows of `cols` elements: rows are points of m (or n)
// and run along k, or, where elements lie `across` k in memory, the other way round. Rows are
// made of chunks of 16 bytes.
typedef struct {
    char letter;  // 'a', 'b'
    TileId value;
    int own;  // the dimension m or n
    bool across;
    CpFill fill;
    int rows, cols, unit;  // unit: elements that one copy moves, or one chunk has
    int offset;            // bytes in a stage
    Values fixed;          // values that are the same for all steps of k
    Values fetched;        // and those that are loaded for a step
} CpOperand;

typedef struct {
    CudaWriter *w;
    TileId dot;
    int m, n, k_first, k_last;  // dimensions
    int limited;                // m or a k, of which each point has `limit`; -1: none
    TileId limit;
    CpShape shape;
    CpTiles tiles;
    CpOperand a, b;
    CudaPoint at;  // the grid dimensions
} Cp;

static inline int cp_element_bytes(const Cp *c) { return cp_is_mma(&c->shape) ? 2 : 4; }
static inline int64_t cp_extent(const Cp *c, int d) { return c->w->p->dims[d].extent; }

// The type in which the product's operands are multiplied: that of both, if both are 16-bit
// floats as they lie in memory; F32 otherwise.
DType cp_operand_type(const TileProgram *p, TileId dot);

// loop_cp.c: all of the above. Prints nothing. False: no tiles are legal,
// or an extent is too large; the reason is in w->diag.
MUST_USE bool cp_plan(CudaWriter *w, Cp *c);

// "const int grid0 = ...": the point of the grid, of its number times `inner`; sets c->at.
void cp_grid_print(Cp *c, const char *number, int64_t inner);

// ---- loop_group.c
// Finds what points of the grid share. Not NULL: why the program has no form.
const char *cp_limit_find(Cp *c);
// Where they share rows: `point` and `m_first` of the tile `row_tile`; no tile: the block ends.
void cp_group_find(Cp *c);
// Where they share k: `steps` of the point.
void cp_steps_find(const Cp *c);

// ---- loop_operand.c
void cp_operand_plan(const Cp *c, CpOperand *o);  // letter, value and own are set; finds across
void cp_operand_tiles(const Cp *c, CpOperand *o);  // c->tiles are chosen: the rest
// "place_a(row, chunk)": where in a stage a chunk is.
void cp_operand_place(const Cp *c, const CpOperand *o);
// Before the steps: values that no k moves.
void cp_operands_fixed(Cp *c);
// Registers between the two halves of filling a stage; nothing if it is copied.
void cp_operand_registers(const Cp *c, CpOperand *o);
// Starts to fill `stage` (bytes from the first) with the tile at k_first; ends it.
void cp_operand_fetch(const Cp *c, CpOperand *o);
void cp_operand_put(const Cp *c, const CpOperand *o);

// ---- loop_multiply.c: sums += the tiles in `stage`
void cp_multiply_mma(const Cp *c);
void cp_multiply_fma(const Cp *c);
