// cuda_compile.c: see cuda_compile.h. Nothing but the text and what NVRTC said of it decides
// which shape a kernel has, so that it is the same whether code is found or made.
#include "autotune/cuda_compile.h"

#include <string.h>

// CUDA C++ is quickly written and slowly compiled, so the text is the key of its machine code;
// without the model's line numbers, and the kernel's name in the first line, which change
// nothing.
Hash cuda_code_key(Str text, IsaLevel level, Str emitter) {
    const char *end = memchr(text.ptr, '\n', text.len);
    size_t first = end ? (size_t)(end - text.ptr) : 0;
    return code_key(hash_bytes(text.ptr + first, text.len - first), level, emitter);
}

static bool text_write(Diag *diag, Arena *arena, const CudaCompiler *c, const TileProgram *p,
                       CudaCompiled *out) {
    *out = (CudaCompiled){0};
    if (!cuda_emit(diag, arena, p, c->level, NULL, &out->kernel)) return false;
    out->key = cuda_code_key(out->kernel.text, c->level, c->emitter);
    return true;
}

static bool code_make(Diag *diag, Arena *arena, const CudaCompiler *c, const TileProgram *p,
                      EmittedKernel *out) {
    CudaKernel kernel;
    CudaCode code;
    if (!cuda_emit(diag, arena, p, c->level, c->lines, &kernel) ||
        !nvrtc_compile(diag, arena, kernel.text, c->level, &code))
        return false;
    *out = (EmittedKernel){.object = code.cubin,
                           .scratch_bytes = code.stack_bytes,
                           .launch.registers = code.registers,
                           .spill_bytes = code.spill_bytes,
                           .notes = code.notes};
    return true;
}

// Of the text that was written.
static bool code_find(Diag *diag, Arena *arena, const CudaCompiler *c, const TileProgram *p,
                      CudaCompiled *out) {
    out->known = c->db && database_code_find(c->db, arena, out->key, &out->code);
    if (!out->known && !c->known_only) {
        if (!code_make(diag, arena, c, p, &out->code)) return false;
        if (c->db) database_code_add(c->db, out->key, &out->code);
        out->known = true;
    }
    out->kernel.launch.registers = out->code.launch.registers;
    out->code.launch = out->kernel.launch;
    out->code.tasks = tile_task_count(p);
    return true;
}

// Has it rows whose shape nothing but the estimate decides?
static bool is_estimated(const TileProgram *p) {
    static const char *const knobs[] = {"threads", "rows", "width", "blocks", "keep", "ring"};
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++)
        vec_each (const TileKnob, knob, &p->knobs)
            if (str_eq(knob->name, str_of(knobs[i]))) return false;
    return p->skeleton == TILE_STREAM;
}

static const TileProgram *with_registers(Arena *arena, const TileProgram *p, int most) {
    TileProgram *copy = arena_new(arena, TileProgram);
    *copy = *p;
    copy->arena = arena;
    copy->knobs.ptr = NULL;
    copy->knobs.len = copy->knobs.cap = 0;
    vec_each (const TileKnob, knob, &p->knobs)
        vec_push(arena, &copy->knobs, *knob);
    tile_knob_set(copy, "registers", most);
    return copy;
}

// Takes the first shape without spills, or that with the fewest. Shapes that fail are none.
static void shapes_try(Arena *arena, const CudaCompiler *c, const TileProgram *p,
                       CudaCompiled *best) {
    static const int most[] = {160, 96};
    Hash last = best->key;
    for (int i = 0; i < 2 && best->code.spill_bytes > 0; i++) {
        const TileProgram *other = with_registers(arena, p, most[i]);
        Diag why;
        CudaCompiled made;
        diag_init(&why, arena);
        if (!text_write(&why, arena, c, other, &made) || hash_eq(made.key, last)) continue;
        last = made.key;
        if (code_find(&why, arena, c, other, &made) && made.known &&
            made.code.spill_bytes < best->code.spill_bytes)
            *best = made;
    }
}

bool cuda_compile(Diag *diag, Arena *arena, const CudaCompiler *c, const TileProgram *p,
                  CudaCompiled *out) {
    if (!text_write(diag, arena, c, p, out) || !code_find(diag, arena, c, p, out)) return false;
    if (out->known && is_estimated(p)) shapes_try(arena, c, p, out);
    return true;
}
