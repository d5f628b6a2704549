// order.h: what happened before what: clocks of threads and of asynchronous work, views that
// pass through barriers, and the races that they show. order.c tells how.
#pragma once

#include "tests/simt/calls.h"

#define WARP         32
#define SHARED_BASE  1024  // shared address of a block's first byte; below it nothing lies
#define ENGINE_SLOTS 128   // operations of the copy engine and wgmma that are told apart
#define COPY_GROUPS  16    // groups of copies that a thread can tell apart
#define CELL_READERS 3

typedef struct Block Block;
typedef struct Thread Thread;
typedef struct Argument Argument;

// An event: a slot of a view (order.c) and its clock; 0: none.
#define EPOCH_CLOCK_BITS 19
#define EPOCH_CLOCK_MASK ((1U << EPOCH_CLOCK_BITS) - 1)
#define EPOCH_SLOTS      (1U << (32 - EPOCH_CLOCK_BITS))

// Who last accessed two bytes of shared memory. Of the readers since the last write some are
// kept, of different warps.
typedef struct {
    uint32_t write, reads[CELL_READERS];
} Cell;
// The same of an argument; clusters are numbered from 1.
typedef struct {
    uint32_t write, write_cluster, reads[2], read_cluster;
    bool several;  // clusters have read it
} GlobalCell;
typedef enum { ACCESS_READ = 0, ACCESS_WRITE = 1, ACCESS_ASYNC = 2 } AccessKind;
// What the running thread, or something on its behalf, does as this event.
typedef struct {
    AccessKind kind;
    uint32_t epoch;
} Access;

void order_init(Machine *m);
void order_start(Machine *m);  // of a cluster
uint32_t *view_new(Machine *m);
// A thread's view goes to a barrier; a barrier's (NULL: empty) to a thread.
void view_release(Machine *m, Thread *t, uint32_t *to);
void view_acquire(Machine *m, Thread *t, const uint32_t *from);
// The same at __syncthreads, before the arrival is counted and after the wait.
void view_release_block(Machine *m, Thread *t);
void view_acquire_block(Thread *t);
void view_fence(Machine *m, Thread *t);
void view_learn(Machine *m, Thread *t, uint32_t epoch);
// Has it happened before what the thread (or, with `async`, the copy engine for it) does now?
bool view_has(const Machine *m, const Thread *t, uint32_t epoch, bool async);
void view_clear(Machine *m, uint32_t *view);
void view_mark(uint32_t *view, uint32_t epoch);
// The event of a thread now, of its last copy; a new one of the copy engine or wgmma.
uint32_t epoch_thread(Machine *m, const Thread *t);
uint32_t epoch_copy(Machine *m, const Thread *t);
uint32_t epoch_engine(Machine *m, const Thread *t);
// Fails if the access, as this event, races with an earlier one.
void shared_access(Machine *m, Block *block, Access a, uint32_t address, uint32_t bytes);
void argument_access(Machine *m, const Argument *arg, Access a, size_t at, uint32_t bytes);
