// stream.h: the parts of the STREAM skeleton for CUDA share this. docs/cuda.md follows a
// kernel.
//
// A team of threads shares a row: 1 to 32 lanes of a warp, or a whole block. Each thread has
// `steps` vectors of `width` neighbouring cols; between its vectors lie those of the others, so
// that a team's accesses are side by side. What one thread stores no other loads, so nothing
// but reductions needs a barrier. Scalars are computed by every thread of the team.
//
// A row that fits stays in registers: each element is loaded once, however many passes there
// are. Else every pass loads it again.
#pragma once

#include "codegen/cuda/writer.h"
#include "codegen/stream_plan.h"

typedef struct {
    int threads;    // of a team
    int teams;      // of a block
    int width;      // cols of a vector: 1, 2, 4 or 8
    int steps;      // vectors of a thread
    bool resident;  // the row stays in registers
    bool
        stashed;  // what a pass stores waits in shared memory, for it is too much for registers
    bool few_registers;  // of a thread: at most 128
    bool shares;         // a block's scalars lie in shared memory (stream_scalars.c)
    bool overflows;      // sums over rows without a place there lie where they are stored
    int64_t tile;        // cols of a task: all of them, or those that a team covers at once
} StreamShape;

// What the shape follows from, measured by writing the kernel once for any shape.
typedef struct {
    double live;        // values at the cols that are needed at once, in registers an element
    int scalars;        // values without cols that a pass uses
    int reduced;        // reductions at once
    int64_t kept_sums;  // sums over rows at the cols: in shared memory if the row does not stay
    int64_t loose_sums;               // those of them that may lie where they are stored
    int stored;                       // values at the cols that a pass stores
    int shared_scalars, shared_sums;  // words of a block that shares its scalars; of each warp
} StreamNeeds;

// What comes through shared memory (stream_ring.c).
typedef struct {
    int64_t *place;     // by TileId: a load's first byte; -1: it does not come that way
    int64_t bytes;      // of a row; 0: nothing comes that way
    int64_t col_bytes;  // of a col of a row
    int64_t part;       // cols of a part
    int parts;
    int first, last;  // rounds of the task's passes that read it
} StreamRing;

// Scalars in shared memory (stream_scalars.c), while the kernel is written.
typedef struct {
    int *place;     // by TileId: the word of what has one; else -1
    bool *local;    // the thread has it as a variable, here
    int64_t *step;  // by TileId: from lane to lane, of its place or of what is loaded; mostly 0
    int count;      // words that have been given away
    int reduced[2];  // of each warp, sums and maxima of the pass that is being written
    uint32_t *sums;  // which they are, in the warps' order
    bool waited;     // the block has waited since this iteration of the loop began
} StreamScalars;

// Is the memory perhaps also that of a load without cols, or of anything else?
typedef enum { MEETING_UNKNOWN, MEETING_NONE, MEETING_LOAD, MEETING_ANY } StreamMeeting;

typedef struct {
    CudaWriter *w;
    StreamPlan plan;
    StreamMeeting *met;      // by argument that is stored: LOAD
    StreamMeeting *met_any;  // by TileId of a store: ANY
    StreamShape shape;
    StreamRing ring;
    StreamScalars scalars;
    StreamNeeds needs;
    StreamNeeds measured;       // while the kernel is written
    CudaPoint at;               // grid and serial dims; the col: of the vector of step k
    Str col_first;              // what is added to a thread's col: "d_base + ", or empty
    bool needs_tail;            // not all vectors of a thread lie in the row
    int sums_used, stash_used;  // that have a place in shared memory
    int open_sums;              // sums over rows at the cols that the loops around have open
    int64_t sums_out;           // that lie where they are stored
} Stream;

// A level's passes. Arrays are by TileId.
typedef struct {
    StreamLevel plan;
    int *first, *last;  // by value at the cols: the round whose pass computes it for later
                        // ones, and the last whose pass uses it; -1: none
    bool *stored;       // by store: it has been made before the level's end
} Level;

static inline const TileOp *stream_op(const Stream *s, uint32_t i) {
    return &s->plan.p->ops.ptr[i];
}
// stream_pass.c
void rounds_plan(Stream *s, Level *l);
void pass_write(Stream *s, Level *l, int round);
void col_sums_start(Stream *s, uint32_t i);  // declares and clears a sum over rows at the cols
int64_t stream_sum_cols(const Stream *s);    // elements of one, where the row does not stay
int64_t
stream_shared_words(const Stream *s);  // of such sums, if the row does not stay, and the stash
Str stream_start(CudaWriter *w, const TileOp *reduce);  // neutral element
Str stream_add(CudaWriter *w, const TileOp *reduce, Str sum, Str x);
Str stream_scalar_text(Stream *s, TileId v);  // a value without cols: its name, or the number

// stream_access.c: accesses at the cols
bool stream_is_vector(const Stream *s, uint32_t i);  // 16 bytes at once, or what `width` gives
bool stream_is_packed(const Stream *s, uint32_t i);  // two elements stay in one register
bool stream_width_fits(const StreamPlan *s, uint32_t i, int width);

// stream_scalars.c
bool scalars_shares(const Stream *s, uint32_t i);  // is it of a kind that has a place there?
bool scalars_place(const Stream *s, uint32_t i);   // is it there, and not in a variable?
int64_t scalars_words(const Stream *s);
void scalars_start(Stream *s);
// The lanes' values of reductions of one kind; `first`: a condition, the first of a row.
void scalars_of_warp(Stream *s, const uint32_t *sums, int count, Str first);
void scalars_of_block(Stream *s);              // of all its warps
int scalars_place_new(Stream *s, uint32_t i);  // gives it the next

// stream_lanes.c: what is computed of them in a round, and what is stored
void scalars_write_shared(Stream *s, const Level *l, int round);
void scalars_store(Stream *s, const uint32_t *stores, int count);

// stream_order.c: the scalars of a round in the order in which they are computed; where they
// are many, one that holds few at once. Gives their number.
enum { MANY_SCALARS = 256 };  // more than a thread has registers
uint32_t stream_scalars_order(Stream *s, const Level *l, int round, uint32_t *order);

// stream_shape.c
int stream_width(const StreamPlan *s);  // of the widest vectors that are of use
// Of the width and residence of s->shape, for what it needs. False: it does not fit; strict: or
// leaves a large GPU idle.
MUST_USE bool stream_shape_choose(const Stream *s, bool strict, StreamShape *out);
// Words of one half of the shared memory of reductions.
int stream_reduction_words(const Stream *s);
int64_t stream_shared_left(const Stream *s);     // bytes beside what the shape takes
int64_t stream_sums_out(const Stream *s);        // how many sums over rows overflow
int64_t stream_blocks_of_unit(const Stream *s);  // that a multiprocessor runs at once
int64_t stream_blocks_at_once(const Stream *s);  // all of a large GPU

// stream.c
void stream_scalar_write(Stream *s, uint32_t i);  // declares it
void stream_scalar_store(Stream *s, uint32_t i);
int64_t stream_tasks(const Stream *s);  // of s->shape
void task_indices_write(Stream *s);     // declares indices from the variable `task`

// stream_ring.c
bool ring_plan(Stream *s);  // of s->shape. False: nothing can come that way
bool ring_has(const Stream *s, uint32_t i);
void ring_reads(Stream *s, int round);  // a pass reads what comes through the ring
void ring_start(Stream *s);
void ring_wait(Stream *s, int round);     // before a part is read
void ring_release(Stream *s, int round);  // when it has been read
void ring_pass_end(Stream *s, int round);
