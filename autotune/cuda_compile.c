// cuda_compile.c: see cuda_compile.h. Nothing but the text and what NVRTC said of it decides
// which shape a kernel has, so that it is the same whether code is found or made.
#include "autotune/cuda_compile.h"

#include <string.h>

// CUDA C++ is quickly written and slowly compiled, so the text is the key of its machine code;
// without the model's line numbers, and the kernel's name in the first line, which change
// nothing.
Hash cuda_code_key(Str text, IsaLevel level, Str emitter) {
    const char *end = text.ptr + text.len, *at = memchr(text.ptr, '\n', text.len);
    StrBuf kept = {0};
    for (const char *next; at && at < end; at = next) {
        next = memchr(at + 1, '\n', (size_t)(end - at - 1));
        if (!next) next = end;
        Str line = {at, (size_t)(next - at)};  // after the line feed that ended the last
        if (!str_starts((Str){at + 1, line.len - 1}, STR("#line "))) strbuf_add(&kept, line);
    }
    Hash hash = hash_bytes(kept.ptr, kept.len);
    strbuf_release(&kept);
    return code_key(hash, level, emitter);
}

static bool text_write(Diag *diag, Arena *arena, const CudaCompiler *c, const TileProgram *p,
                       CudaCompiled *out) {
    *out = (CudaCompiled){0};
    if (!cuda_emit(diag, arena, p, (EmitOptions){.level = c->level, .lines = c->lines},
                   &out->kernel))
        return false;
    out->key = cuda_code_key(out->kernel.text, c->level, c->emitter);
    return true;
}

static bool code_make(Diag *diag, Arena *arena, IsaLevel level, Str text, EmittedKernel *out) {
    CudaCode code;
    if (!nvrtc_compile(diag, arena, text, level, &code)) return false;
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
        if (!code_make(diag, arena, c->level, out->kernel.text, &out->code)) return false;
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
