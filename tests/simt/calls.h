// calls.h: the border between kernel text, compiled as C++ into a shared object, and the
// machine that runs it, written in C and part of the test program. The object gets the table
// when it is loaded, so that it links to nothing.
#pragma once

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIMT_ARGUMENTS 704
#define SIMT_MAPS      4
#define SIMT_MAP_MARK  0x7374726174614d61ULL  // first word of a tensor map; then its number
#define SIMT_OWN       0xffffffffU

typedef struct Machine Machine;

typedef struct {
    uint32_t x, y, z;
} SimtDim;
// A box in a tensor; where it begins, innermost first.
typedef struct {
    const void *map;
    int32_t at[5];
    uint32_t rank;
} SimtBox;
// d[64 x columns] = a b (+ d if add): descriptors of shared memory.
typedef struct {
    uint64_t a, b;
    uint32_t columns;
    bool f16, across_a, across_b, add;
} SimtProduct;
// An operand of an asm statement.
typedef struct {
    uint64_t value;      // of one that is written its address
    char written, kind;  // '=', '+' or 0; the letter of the constraint
    uint8_t bytes;
    bool is_float;
} SimtOperand;
// What the built-in variables say of the thread that runs.
typedef struct {
    SimtDim thread, block, threads, blocks;
} SimtPlace;

typedef struct {
// NOLINTNEXTLINE(bugprone-macro-parentheses)
#define CALL(result, name, parameters) result(*name) parameters;
#include "tests/simt/calls.def"
} SimtCalls;

// One kernel of an object: its function, called with `arguments` of the link, and where
// its static shared memory lies.
typedef struct {
    void (*run)(void);
    unsigned char *shared, *shared_end;  // NULL: it has none
} SimtEntry;

// What every object exports: `simt_link`, which the machine fills, and `simt_entries`, an
// array.
// Kernels may read all of it.
typedef struct {
    alignas(128) uint64_t maps[SIMT_MAPS][16];
    Machine *machine;
    SimtPlace place;
    void *arguments[SIMT_ARGUMENTS];  // pointers; of a tensor map its address
    SimtCalls calls;
} SimtLink;
