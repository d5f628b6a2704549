// session.h: what session.c and its back ends share; everybody else includes device.h.
#pragma once

#include "runtime/cpu/pool.h"
#include "runtime/device.h"

enum { SESSION_ALIGN = 64 };  // of tensors, constants and arenas

typedef struct {
    uint32_t *tensors;  // that the entry touches
    uint32_t tensor_count;
    uint32_t *inputs;  // of these, inputs with restricted values
    uint32_t input_count;
    int64_t *step_ns;  // of each step
} SessionEntry;

// Which copy of a tensor has its value; always both where there is but one.
typedef enum { VALUE_BOTH, VALUE_HOST, VALUE_DEVICE } ValueSide;

// The functions of a device. Tensors with only one memory need no transfers.
typedef struct {
    // Sets s->host and s->state; entries are described already. After a failure, close is
    // called as well.
    bool (*open)(Diag *diag, Session *s);
    void (*close)(Session *s);
    bool (*upload)(Diag *diag, Session *s, uint32_t tensor);  // NULL: host memory is used
    // Bytes [offset, offset + bytes) of it. NULL with upload.
    bool (*download)(Diag *diag, Session *s, uint32_t tensor, size_t offset, size_t bytes);
    bool (*run)(Diag *diag, Session *s, uint32_t entry);  // sets step_ns if s->profile
} Backend;
extern const Backend backend_cpu, backend_cuda;

struct Session {
    Arena arena;
    const Plan *plan;
    Pool *pool;
    const Backend *backend;
    void *state;       // the back end's own
    void **host;       // of each tensor: its memory on the host
    ValueSide *value;  // of each tensor
    SessionEntry *entries;
    bool profile;
    uint32_t last;  // entry + 1 of the last run that was profiled; 0: none
};

// A part of memory from the system, zeroed.
typedef struct {
    unsigned char *data;
    size_t bytes;
} Mapping;
MUST_USE bool mapping_open(Diag *diag, size_t bytes, Mapping *out);
void mapping_close(Mapping *m);  // also of a zeroed one

size_t session_aligned(size_t bytes);       // the next multiple of SESSION_ALIGN
size_t session_arena_bytes(const Plan *p);  // of the largest arena, aligned
