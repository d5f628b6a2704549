// machine.h: the inside of the machine that runs kernels: blocks of a cluster, their threads as
// fibers, and what they wait for. simt.h is the outside. The machine lives in a child process:
// what goes wrong is written to a page shared with the parent, and the child ends.
//
//     Machine --+-- Block (one of the cluster's) --+-- Thread, a fiber each
//               |      shared memory, barriers     +-- Warp: what its lanes exchange
//               +-- asynchronous operations that are under way (async.c)
#pragma once

#include "base/attr.h"
#include "tests/simt/calls.h"
#include "tests/simt/fiber.h"
#include "tests/simt/order.h"
#include "tests/simt/simt.h"

#define SHARED_MAX     232448  // bytes of a block on sm_90
#define NAMED_BARRIERS 16
#define REPORT_BYTES   8192
#define STACK_BYTES    (128 << 10)
#define EXCHANGE_BYTES 32
#define WARP_CHANNELS  32  // a warp's lanes in groups of 2, 4, 8, 16 and all make 31 masks
#define BARRIERS_MAX   64
#define GROUP          128  // threads of a warpgroup
#define PRODUCTS_MAX   64   // of a warpgroup under way
#define ACCUMULATORS   8    // of a thread under way
#define REGISTERS      65536

// What one thread waits for: that a counter is no longer `seen`. A thread that can run waits
// for what is so already, one that has ended for what never will be.
typedef struct {
    const uint64_t *counter;
    uint64_t seen;
    const char *what;
} Wait;

// Asynchronous copies of one thread (cp.async), in the order in which it asked for them.
typedef struct {
    uint32_t to, size, bytes;  // shared address; of `size` bytes `bytes` are copied, the rest 0
    uint32_t group;            // size 0: no copy, but an arrival at the barrier `to`
    uint32_t epoch;            // its event, or that of the last copy before
    const unsigned char *from;
} Copy;
typedef struct {
    Copy *ops;
    uint32_t first, count, cap;
    uint32_t group;              // groups that the thread has closed
    uint32_t ends[COPY_GROUPS];  // clocks of the last copies of groups
} CopyQueue;

// A copy by the copy engine between shared memory and rows of bytes or a box of a tensor.
typedef struct {
    Block *block;
    uint32_t shared, bytes;
    unsigned char *global;     // rows; of a tensor its first element
    const TensorMapSpec *map;  // NULL: rows
    SimtBox box;
    uint32_t barrier;     // of a load
    uint32_t group;       // of a store
    unsigned char *data;  // of a store that has been read
    bool written;
    uint32_t epoch, write_epoch;  // of the access to shared memory; of a store to global memory
} Transfer;
typedef struct {
    Transfer *ops;
    uint32_t count, cap;
} TransferList;

// Sums of wgmma are taken from the thread until it waits for all products that add to them.
typedef struct {
    float *d;  // NULL: not in use
    uint32_t count;
    uint64_t last;  // product
    float sums[128];
} Accumulator;

struct Thread {
    Fiber fiber;
    unsigned char *stack;  // its low end
    Block *block;
    uint32_t index;  // in its block
    uint32_t slot;   // in views
    // order.c: the own clock, that of its copies, and which of those it has waited for
    uint32_t clock, copy_clock, copies_seen;
    uint32_t *view;  // if own_view; otherwise the block's
    bool own_view;
    CopyQueue copies;
    TransferList stores;
    uint32_t store_group;     // groups that it has closed
    uint64_t products;        // that it has begun
    uint64_t products_known;  // to have ended
    uint32_t product_group;
    bool product_fence;  // since it last got sums back
    Accumulator *accumulators;
};

// Lanes of a mask meet here: each leaves some bytes, and when all have come each sees all. Two
// rounds, so that a fast lane may come again before a slow one has looked.
typedef struct {
    uint32_t mask;
    uint64_t met;  // rounds completed
    uint64_t rounds[WARP];
    uint32_t arrived[2];
    const char *what[2];
    uint32_t *view[2];  // of __syncwarp
    unsigned char bytes[2][WARP][EXCHANGE_BYTES];
} Channel;

// A channel is empty until its mask is used first: clearing all of them for each block would
// take longer than most blocks run.
typedef struct {
    uint32_t masks[WARP_CHANNELS];  // 0: not in use
    Channel channels[WARP_CHANNELS];
} Warp;

// Threads that wait for each other.
typedef struct {
    uint32_t arrived, expected;
    uint64_t completed;
    uint32_t *view[2];  // of this round and the last; __syncthreads has its own
} Meeting;

// mbarrier: in phase `phase` until so many more arrivals and bytes have come.
typedef struct {
    uint32_t address, expected, pending;
    int64_t bytes;
    uint64_t phase;
    uint32_t *view[2];  // of phases of either parity
    uint32_t made;      // its initialisation
} Barrier;

// One wgmma of a warpgroup, begun by each of its threads on its own.
typedef struct {
    SimtProduct product;
    uint32_t group, begun;   // threads
    uint32_t taking[GROUP];  // the accumulator of each thread
    uint32_t epoch;
} Product;
typedef struct {
    Product ops[PRODUCTS_MAX];  // a ring
    uint64_t begun, done;
    uint64_t changes;  // of any `begun`
} Warpgroup;

struct Block {
    Machine *machine;
    uint32_t rank, index;    // in the cluster, in the grid
    unsigned char *dynamic;  // dynamic shared memory
    unsigned char *statics;  // static shared memory while another block's is in place
    uint32_t live;
    Thread *threads;
    Warp *warps;
    Warpgroup *groups;
    Cell *cells;                       // of its shared memory
    uint32_t *shared_view[2];          // after an even and an odd number of __syncthreads
    Meeting meetings[NAMED_BARRIERS];  // 0 is __syncthreads
    Barrier barriers[BARRIERS_MAX];
    uint32_t barrier_count;
    uint32_t registers[32];   // of a thread of each warp
    uint64_t registers_free;  // of the block
    uint64_t registers_changes;
};

// A kernel argument, as the machine keeps it.
struct Argument {
    unsigned char *data;
    size_t bytes;
    Str name;
    void *mapping;  // inaccessible pages, its memory, inaccessible pages
    size_t mapped;
    GlobalCell *cells;
};

// Written by the child, read by the parent.
typedef struct {
    char text[REPORT_BYTES];  // empty: nothing went wrong
    SimtPlace place;          // of the thread that ran last
    SimtSchedule schedule;
} Report;

struct Machine {
    const SimtEntry *entry;
    Launch launch;
    SimtSchedule schedule;
    Argument arguments[SIMT_ARGUMENTS];
    uint32_t argument_count;
    Report *report;

    SimtLink *link;   // in the object
    Block *blocks;    // launch.cluster
    Block *resident;  // whose static shared memory is in place
    Thread *running;
    Wait *waits;      // of each thread, by slot
    uint32_t *turns;  // slots, in the order of this round
    uint32_t live;    // threads of the cluster that have not ended
    uint64_t never;   // a counter that does not move
    Fiber scheduler;
    uint64_t random;
    Meeting cluster_meeting;
    TransferList loads;  // under way, of the cluster
    // order.c
    unsigned char *views;  // memory of the cluster's views
    size_t views_used;
    uint32_t slots_used;
    uint32_t cluster_number;  // from 1
    bool fenced;              // there has been an async_fence
    uint32_t engine_next;
    struct {
        uint32_t clock, owner;
    } engine[ENGINE_SLOTS];
    uint32_t static_bytes, dynamic_at, shared_end;  // shared addresses
};

// ---- machine.c
// Runs one launch in one schedule. Does not return if something goes wrong.
void machine_run(Machine *m);
// Says what is wrong and where, and ends the child.
NORETURN void machine_fail(Machine *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Until *counter differs from `seen`.
void machine_wait(Machine *m, const uint64_t *counter, uint64_t seen, const char *what);
uint32_t machine_random(Machine *m, uint32_t below);

// ---- warp.c
// Every lane of the mask gives `bytes` and gets what all gave, [lane][EXCHANGE_BYTES].
const unsigned char (*warp_exchange(Machine *m, const char *what, uint32_t mask,
                                    const void *mine, uint32_t bytes))[EXCHANGE_BYTES];

// ---- barrier.c
// Fails unless the running thread may use the barrier at this shared address, itself or through
// the copy engine.
void barrier_check(Machine *m, Block *block, uint32_t address, bool async);
// Would the running thread pass without waiting?
bool barrier_passed(Machine *m, uint32_t address, uint32_t parity);
// Bytes have come; a thread's copies have come and arrive. The event is theirs.
void barrier_complete(Machine *m, Block *block, uint32_t address, uint32_t bytes,
                      uint32_t epoch);
void barrier_arrive_copies(Machine *m, Block *block, uint32_t address, uint32_t epoch);

// ---- transfer.c
// Does one copy of the cluster that is under way; false: there is none.
bool transfer_step(Machine *m);
void thread_end_stores(Machine *m, const Thread *t);
// Writes what the cluster's stores have read.
void transfer_finish(Machine *m);
uint32_t swizzle(uint32_t address, uint32_t span);

// ---- product.c
void thread_end_products(Machine *m, Thread *t);

// ---- copy.c
// Does a copy of some thread on which a barrier waits; false: there is none.
bool copy_step(Machine *m);
void thread_end_copies(Machine *m, Thread *t);

// ---- memory.c
// Fails unless the bytes belong to an argument, and if the access races.
void global_access(Machine *m, Access a, const void *at, uint32_t bytes);
// Without an event: only the place.
void global_check(Machine *m, const void *at, uint32_t bytes, bool write);
// Where the byte at a shared address of a block lies; fails if `bytes` do not lie there.
unsigned char *shared_at(Machine *m, Block *block, uint32_t address, uint32_t bytes);

#define CALL(result, name, parameters) result call_##name parameters;
#include "tests/simt/calls.def"
