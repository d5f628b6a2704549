// fake_stream.h: the streams and graphs of the fake CUDA driver.
#pragma once

#include "base/attr.h"
#include "base/io.h"
#include "runtime/cuda/driver.h"
#include "runtime/plan.h"

enum { FAKE_ARGS_MAX = 16 };

struct CuEvent {
    float time;
};

typedef enum { FAKE_COPY, FAKE_FILL, FAKE_EVENT, FAKE_LAUNCH, FAKE_CALL } FakeKind;
typedef struct {
    FakeKind kind;
    CuAddress to, from;
    size_t bytes;
    unsigned char value;
    CuEvent *event;
    KernelFn *function;
    int64_t tasks;
    void *args[FAKE_ARGS_MAX];
    uint32_t arg_count;
    // A library's work: a function on a copy of its description.
    void (*call)(const void *description);
    unsigned char description[256];
} FakeOp;

// Runs it, or appends it to what is captured.
void fake_submit(CuStream *stream, FakeOp op);
CuStream *fake_stream_new(void);
void fake_stream_free(CuStream *stream);
bool fake_is_captured(const CuStream *stream);
void fake_capture_begin(CuStream *stream);
CuGraph *fake_capture_end(CuStream *stream);
void fake_graph_free(CuGraph *graph);
CuGraphExec *fake_graph_copy(const CuGraph *graph);
void fake_graph_run(const CuGraphExec *graph);
void fake_exec_free(CuGraphExec *graph);

// ---- of the driver
#define DRIVER_FUNCTION(name, symbol, ...) int symbol(__VA_ARGS__);
#include "runtime/cuda/driver.def"
#undef DRIVER_FUNCTION
void fake_object_count(int change);  // something was made or released
void fake_log(const char *fmt, ...) PRINTF_LIKE(1, 2);
int fake_error(const char *function);  // what it must answer now; 0: nothing
void *fake_pointer(CuAddress address);
size_t fake_room(CuAddress at);  // bytes from there to the end of its allocation; 0: in none

enum { INVALID_VALUE = 1 };  // CUresult
// What every function that may fail begins with.
#define ENTER(name)                  \
    int injected = fake_error(name); \
    if (injected) return injected
