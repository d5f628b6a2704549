// fake_stream.c: lists of operations that run at once or later.
#include "tests/runtime/fake_stream.h"

#include <stdlib.h>
#include <string.h>

struct CuGraph {
    FakeOp *ops;
    size_t count;
};

struct CuGraphExec {
    CuGraph graph;
};

struct CuStream {
    CuGraph *captured;  // NULL: it runs
};

static void run_op(const FakeOp *op) {
    static float now;
    static double scratch[8192];
    switch (op->kind) {
    case FAKE_COPY: memcpy(fake_pointer(op->to), fake_pointer(op->from), op->bytes); break;
    case FAKE_FILL: memset(fake_pointer(op->to), op->value, op->bytes); break;
    case FAKE_EVENT: op->event->time = now += 0.25F; break;
    case FAKE_LAUNCH: op->function(op->args, 0, op->tasks, scratch); break;
    case FAKE_CALL: op->call(op->description); break;
    }
}

static void add_op(CuGraph *graph, const FakeOp *op) {
    FakeOp *ops = realloc(graph->ops, (graph->count + 1) * sizeof *ops);
    if (!ops) abort();
    graph->ops = ops;
    ops[graph->count++] = *op;
}

void fake_submit(CuStream *stream, FakeOp op) {
    if (stream->captured)
        add_op(stream->captured, &op);
    else
        run_op(&op);
}

static void *made(size_t bytes) {
    void *object = calloc(1, bytes);
    if (!object) abort();
    fake_object_count(1);
    return object;
}

static void released(void *object) {
    free(object);
    fake_object_count(-1);
}

CuStream *fake_stream_new(void) { return made(sizeof(CuStream)); }
void fake_stream_free(CuStream *stream) { released(stream); }
bool fake_is_captured(const CuStream *stream) { return stream->captured != NULL; }
void fake_capture_begin(CuStream *stream) { stream->captured = made(sizeof(CuGraph)); }

CuGraph *fake_capture_end(CuStream *stream) {
    CuGraph *graph = stream->captured;
    stream->captured = NULL;
    return graph;
}

void fake_graph_free(CuGraph *graph) {
    free(graph->ops);
    released(graph);
}

CuGraphExec *fake_graph_copy(const CuGraph *graph) {
    CuGraphExec *exec = made(sizeof *exec);
    for (size_t i = 0; i < graph->count; i++)
        add_op(&exec->graph, &graph->ops[i]);
    return exec;
}

void fake_graph_run(const CuGraphExec *graph) {
    for (size_t i = 0; i < graph->graph.count; i++)
        run_op(&graph->graph.ops[i]);
}

void fake_exec_free(CuGraphExec *graph) {
    free(graph->graph.ops);
    released(graph);
}
