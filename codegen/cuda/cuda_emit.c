// cuda_emit.c: see cuda_emit in cuda.h. Chooses the skeleton.
#include "base/check.h"
#include "codegen/cuda/loop_choices.h"
#include "codegen/cuda/writer.h"

static void heading(CudaWriter *w) {
    cuda_line(w, "// %.*s, for %s", STR_ARG(w->p->name), isa_level_text(w->arch));
    cuda_line(w, "#include \"prelude.cuh\"");
}

static bool loop_emit(CudaWriter *w) {
    return cuda_loop_is_ws(w->arena, w->p, w->arch) ? cuda_loop_ws(w) : cuda_loop_cp(w);
}

static bool skeleton_emit(CudaWriter *w) {
    bool sorts = w->p->ops.ptr[w->p->ops.len - 1].kind == TILE_SORT;
    switch (w->p->skeleton) {
    case TILE_STREAM: return sorts ? cuda_order(w) : cuda_stream(w);
    case TILE_LOOP: return loop_emit(w);
    case TILE_ATTEND: return cuda_attend(w);
    case TILE_CHUNK: return cuda_chunk(w);
    }
    BUG("skeleton %d", (int)w->p->skeleton);
}

bool cuda_emit(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options,
               CudaKernel *out) {
    ASSERT(level_is_cuda(options.level));
    CudaWriter w = {.diag = diag,
                    .lines = options.lines,
                    .arena = arena,
                    .p = p,
                    .arch = options.level,
                    .launch = {.cluster = 1}};
    heading(&w);
    bool ok = skeleton_emit(&w);
    if (ok)
        *out = (CudaKernel){.text = str_copy(arena, strbuf_view(&w.text)),
                            .launch = w.launch,
                            .conversions = w.conversions.ptr,
                            .conversion_count = w.conversions.len};
    strbuf_release(&w.text);
    return ok;
}
