// loop.h: the parts of the LOOP skeleton share this. docs/codegen.md describes the loop nest.
//
// One of m and n is walked by the rows of a register block, the other by its vectors: `row` and
// `col` below. The operand that stands at `row` is read element by element and spread over a
// vector; the one that stands at `col` is read a vector at a time.
#pragma once

#include "codegen/llvm/builder.h"

// Where operations are evaluated: one index a dimension, and `lanes` neighbours along one of
// them. What is already known there is remembered; a place made from another by place_inside
// remembers more, and the outer one stays as it was.
typedef struct {
    IrValue index[TILE_MAX_DIMS];  // i64; NULL: not fixed yet
    int64_t shift[TILE_MAX_DIMS];  // added to index
    int along, lanes;              // along -1: no vector
    IrValue mask;                  // of the vector; NULL: all lanes
    IrValue *pointer;  // per operation: element at `index` without the shifts; NULL: not known
    IrValue *one;      // value of one that does not stand at `along`
    IrValue *all;      // value of one that does
} Place;

typedef struct {
    TileId value;
    int dim;             // row or col
    const TileOp *load;  // reads memory as it is; NULL: computed while it is packed
    bool packed;         // the register kernel reads a copy in close memory
    bool along_k;        // the copy is made by vectors along the innermost k
    bool plain;          // a load without guards, so that its memory can be asked for early
    bool by_number;      // a gather of rows (or, of the other operand, k) by their number
    DType type;          // of the elements that the register kernel reads
    IrValue copy;        // NULL unless packed
} Operand;

// Row numbers of a gather or scatter; see loop_numbers.c.
typedef struct {
    int along;          // row or k_last
    IrValue list;       // NULL: they are computed where they are wanted
    IrValue from_zero;  // where number 0 along the dimension would lie; NULL: not filled yet
} Numbers;

typedef struct {
    Builder *b;
    const TileProgram *p;
    TileId dot, limit;  // limit {0}: there is none
    int limited;        // the dimension that it limits; -1: none
    int row, col;
    int k_first, k_last;  // the k dimensions; k_last is the innermost
    int k_inside;  // from this one on the register kernel walks them; those before are steps
    // Neighbouring k that an element of 32 bits in close memory holds: 2 where pairs of bf16
    // are multiplied, else 1. Numbers of k that are not called elements count single ones.
    int pair;
    int64_t k_flat[TILE_MAX_DIMS];  // elements of one index of an inside k, in packed copies
    int64_t k_pitch;                // elements of all of them
    int64_t
        row_pitch;  // of a packed row: one vector more, so that rows do not meet in a cache set
    bool steps;     // more than one step of k: partial sums are kept between them
    int64_t strand;  // of k that a step takes one of each; 0: its k are neighbours
    Operand rows, cols;
    int lanes, mr, nv, ku;
    int64_t block_rows;  // rows of a task that are walked together, for the cache's sake
    int64_t group;       // panels that each block of rows meets before the next block
    bool one_group;      // packed panels are used at once, and the next ones take their place
    bool dot_form;       // see loop_dot.c
    IrValue turned;      // there: sums of a block, [rows][lanes]
    IrValue no_row;      // zeros, what a row that is gathered in place and is none consists of
    bool rolled;         // the epilogue is a loop over the rows of a block
    IrValue partial;     // partial sums of the task
    IrValue spill;       // the sums of a block, for a rolled epilogue
    bool *after_dot;     // per operation: is it computed from the dot
    Numbers *numbers;    // per operation
    // Of the task and step that are being emitted:
    Place at;  // start of the task's rows and cols and of the step's k
    IrValue row_count, col_count, k_count;
    IrValue k_end;              // of the innermost k
    IrValue is_first, is_last;  // step; i1
} Contract;

// The last lanes of a panel's last vector may not exist.
typedef struct {
    int vectors, tail;  // 1 <= tail <= lanes
} Width;

// loop_value.c
Place place_new(const Contract *c);
Place place_inside(const Contract *c, const Place *outer);
IrValue place_index(const Contract *c, const Place *at, int dim);  // with its shift
IrValue value_one(const Contract *c, TileId v, Place *at);  // v does not stand at `along`
IrValue value_all(const Contract *c, TileId v, Place *at);  // spread over the lanes
// Computes what `v` needs and does not stand outside `known`.
void place_prepare(const Contract *c, Place *at, TileId v, DimSet known);
// Element that an access reaches at the place, without row number.
IrValue place_pointer(const Contract *c, const TileOp *op, Place *at);
// `pointer` moved to the row that a gather reads at the place; anywhere if there is none.
IrValue place_row(const Contract *c, const TileOp *op, IrValue pointer, Place *at);
IrValue place_has_row(const Contract *c, const TileOp *op, Place *at);
void place_store(const Contract *c, const TileOp *op, IrValue x, Place *at);
// Lanes below an i64; NULL if all always are.
IrValue mask_below(Builder *b, IrValue count, int lanes);
DimSet dim_bit(int dim);
int64_t elements_of(const Contract *c, int64_t k);     // that hold so many k
IrValue whole_elements(const Contract *c, IrValue k);  // likewise, without half a pair
IrValue
half_element(const Contract *c);  // i1: do the k of the step end with half a pair; NULL: no

// loop_numbers.c
void numbers_plan(Contract *c);
void numbers_fill(Contract *c, int along, IrValue count);  // of the task, or of the step
IrValue number_listed(const Contract *c, TileId v, const Place *at);  // NULL: in no list

// loop_pack.c
void pack_rows(Contract *c, IrValue first, IrValue count);  // relative to the task
void pack_panel(Contract *c, IrValue first, Width w);
IrValue panel_copy(const Contract *c, IrValue first);  // of the panel that begins at this col

// loop_micro.c: the sums of a block of the rows from `row` and the cols from `col` on, relative
// to the task, and its epilogue; `block` is the first row of those walked together.
typedef struct {
    IrValue row, col, block;
    int rows;
    Width width;
    IrValue number;     // of the block in its panel
    bool copies;        // reads the cols from their memory and leaves the copy behind
    IrValue next;       // first element of the cols that come next, in memory; NULL: unknown
    IrValue next_copy;  // where their copy goes, if this block makes some of it
} Block;
void block_emit(Contract *c, const Block *block);

// How the register kernel finds elements of an operand of a block: base is the first of them.
typedef struct {
    DType type;
    IrValue base;
    int64_t across;               // between rows or cols
    int64_t step[TILE_MAX_DIMS];  // between indices of each k
    // Of rows that are gathered in place: where each begins, and then those of the next block;
    // base is how many elements behind that, an i64. NULL: `across` apart.
    IrValue *each;
} Walk;
IrValue walk_on(const Contract *c, const Walk *w, IrValue base, IrValue index, int k);
// From `first` rows or cols after the start of the task on, in the operand's own memory.
Walk walk_in_place(const Contract *c, const Operand *o, IrValue first);

// loop_ahead.c: what a block does for later ones.
typedef struct {
    Walk walk;     // of the next panel in memory
    IrValue copy;  // where it is copied to; NULL: it is only asked for
    int fast;      // k that are asked for every ku k
    int64_t cols;  // of each of them
    int share;     // or k that are copied, or cols along k that are asked for
    IrValue k;     // or of every ku k this one, whose row is gathered; NULL: none
} Ahead;
void ahead_plan(Ahead *a, const Contract *c, const Block *block);
void ahead_on(Ahead *a, const Contract *c, IrValue index, int k);  // like walk_on
// At the k that is u behind `index`, a multiple of ku.
void ahead_step(const Ahead *a, const Contract *c, IrValue index, int u);
// How long the strands are that k is walked in, side by side; 0: in none.
int64_t strand_length(const Contract *c);
bool rows_stream(const Contract *c);  // the second-level cache does not hold those of a task
// Asks for rows that come after `count` ones in place, at the k to which `rows` points.
void rows_ask(const Contract *c, const Walk *rows, int count, IrValue index);
// The first blocks of a panel that do something for the next one; 0: none does.
int helping_blocks(const Contract *c);
bool blocks_copy(const Contract *c);     // they copy it
bool any_blocks_ask(const Contract *c);  // all ask for it: how many there are is not known

// loop_dot.c: adds the sums of a block whose operands both lie along k: vectors walk k, and
// their lanes are summed at the end.
void dot_sums(Contract *c, const Block *block, const Walk walks[2], IrValue *sums);

// loop_epilogue.c
bool epilogue_is_costly(const Contract *c);
// For the place of the stores of one vector.
void epilogue_ask(Contract *c, const Block *block, IrValue row, IrValue vector);
void epilogue_emit(Contract *c, const Block *block, IrValue *sums);  // [rows][vectors]
