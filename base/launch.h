// launch.h: what launching a GPU kernel needs beside its pointers. Made by codegen/cuda, kept
// in plans and databases, used by runtime/cuda. Plain data.
#pragma once

#include "base/dtype.h"

#define LAUNCH_MAX_MAPS 4
#define TENSOR_MAP_RANK 5

// Pointers that every driver can pass to a kernel: parameters are 4 KB (before CUDA 12.1), of
// which each map takes 128 bytes and a pointer 8.
#define LAUNCH_MAX_POINTERS ((4096 - LAUNCH_MAX_MAPS * 128) / 8)

// A tensor in global memory, as the copy engine of sm_90 sees it (CUtensorMap; PTX ISA,
// "Tensors"). Dimension 0 is the innermost, with stride 1.
typedef struct {
    uint32_t arg;    // pointer argument of the kernel that it describes
    int64_t offset;  // elements from there; a multiple of 16 bytes
    DType type;
    uint32_t rank;                    // 2 to TENSOR_MAP_RANK
    int64_t extent[TENSOR_MAP_RANK];  // elements
    int64_t
        stride[TENSOR_MAP_RANK];    // elements; [0] is 1, of the others a multiple of 16 bytes
    uint32_t box[TENSOR_MAP_RANK];  // elements of a copy, each at most 256
    uint32_t swizzle;               // bytes: 0, 32, 64 or 128; box[0] is no wider
} TensorMapSpec;

// The kernel's parameters are its pointers in the order of the tile program's arguments, then
// the maps by value.
typedef struct {
    uint32_t blocks, threads;  // of the grid, in one dimension; of a block
    uint32_t cluster;          // blocks that run together, at least 1
    uint32_t shared_bytes;     // dynamic shared memory of a block
    uint32_t registers;        // of a thread, as the compiler says; 0: not known
    uint32_t map_count;
    TensorMapSpec maps[LAUNCH_MAX_MAPS];
} Launch;
