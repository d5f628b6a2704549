// cuda_peaks.c: copying from memory to memory, more than the L2 cache holds. Arithmetic is not
// measured: whatever ran would be a contraction of ours, or a library's, and not the peak.
#include "autotune/cuda_peaks.h"

#include <math.h>

enum { TRIES = 20, COPY_BYTES = 256 << 20 };

// A100 80 GB, H200, B200; products of bf16, without sparsity.
MachinePeaks cuda_peaks_sheet(IsaLevel level) {
    static const MachinePeaks a100 = {312e12, 2.0e12, 0, 0}, h200 = {989e12, 4.8e12, 0, 0},
                              b200 = {2250e12, 8.0e12, 0, 0};
    return level == CUDA_SM80 ? a100 : level == CUDA_SM90A ? h200 : b200;
}

typedef struct {
    const CudaDriver *cu;
    CuContext *context;
    CuStream *stream;
    CuEvent *before, *after;
    CuAddress from, to;
} Copier;

static void copier_close(Copier *c, int device) {
    if (c->from) c->cu->memory_free(c->from);
    if (c->to) c->cu->memory_free(c->to);
    if (c->before) c->cu->event_free(c->before);
    if (c->after) c->cu->event_free(c->after);
    if (c->stream) c->cu->stream_free(c->stream);
    if (c->context) c->cu->context_release(device);
}

static int copier_open(Copier *c, int device) {
    int error = c->cu->context_retain(&c->context, device);
    if (!error) error = c->cu->context_use(c->context);
    if (!error) error = c->cu->stream_new(&c->stream, CU_STREAM_NON_BLOCKING);
    if (!error) error = c->cu->event_new(&c->before, 0);
    if (!error) error = c->cu->event_new(&c->after, 0);
    if (!error) error = c->cu->memory_new(&c->from, COPY_BYTES);
    if (!error) error = c->cu->memory_new(&c->to, COPY_BYTES);
    return error;
}

static int copy_once(const Copier *c, float *ms) {
    int error = c->cu->event_record(c->before, c->stream, 0);
    if (!error) error = c->cu->copy(c->to, c->from, COPY_BYTES, c->stream);
    if (!error) error = c->cu->event_record(c->after, c->stream, 0);
    if (!error) error = c->cu->stream_wait(c->stream);
    return error ? error : c->cu->event_elapsed(ms, c->before, c->after);
}

// Bytes read and written a second; 0: it cannot be measured (its memory may be in use).
static double copy_bandwidth(int device) {
    Copier c = {.cu = cuda_driver(NULL)};
    if (!c.cu) return 0;
    float best = HUGE_VALF, ms = 0;
    int error = copier_open(&c, device);
    for (int i = 0; i < TRIES && !error; i++) {
        error = copy_once(&c, &ms);
        if (!error) best = fminf(best, ms);
    }
    copier_close(&c, device);
    return error || !(best > 0) ? 0 : 2.0 * COPY_BYTES / ((double)best * 1e-3);
}

MachinePeaks cuda_peaks_measured(Database *db, const TuneContext *context,
                                 const CudaDevice *device) {
    MachinePeaks out;
    if (db && database_peaks_find(db, context, &out)) return out;
    out = cuda_peaks_sheet(context->level);
    double bandwidth = copy_bandwidth(device->index);
    if (!(bandwidth > 0)) return out;
    // No cache counts: a kernel's data may be anywhere.
    out.read_bytes = out.l3_bytes = out.l2_bytes = bandwidth;
    if (db) database_peaks_add(db, context, &out);
    return out;
}
