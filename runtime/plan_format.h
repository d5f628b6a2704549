// plan_format.h: the shape of an artifact file, shared by plan_write.c and plan_read.c
// (docs/plan_format.md).
#pragma once

#include <stdint.h>

#define PLAN_MAGIC "\x89STRATA\n"  // 8 bytes; the first is not ASCII, so the file is no text

enum {
    PLAN_VERSION = 3,
    PLAN_CHECKED_FROM = 32,  // the checksum covers the file from here to its end
    PLAN_TABLE_AT = 40,
    PLAN_SECTION_ENTRY = 16,
    PLAN_ALIGN = 64,    // of sections
    PLAN_HEADER = 128,  // where the first section may start
};

typedef enum {
    SECTION_MANIFEST,  // model, target, extents, tensors
    SECTION_KERNELS,   // kernels; their objects are in SECTION_CODE
    SECTION_ENTRIES,   // steps and buffers
    SECTION_CODE,      // objects, one after another
    SECTION_CONSTANTS,
    SECTION_COUNT
} PlanSection;

// Least bytes that one of these takes in a file: a count that could not fit in the rest is
// refused before memory is set aside for it.
enum {
    LEAST_EXTENT = 12,
    LEAST_TENSOR = 49,
    LEAST_KERNEL = 92,
    LEAST_ENTRY = 20,
    LEAST_BUFFER = 21,
    LEAST_STEP = 13,
    LEAST_STRING = 4,
    LEAST_MAP = 21,
};
