// ptx.c: see ptx.h. A template is a sequence of
//     { | } | LABEL: | .reg .TYPE NAME; | [@[!]PREDICATE] OPCODE OPERANDS;
// Everything else is an error, as is a register that is read before it is written.
#include "tests/simt/ptx.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define JUMPS_MAX 1000

void ptx_fail(const Ptx *p, const char *what) {
    machine_fail(p->m, "PTX: %s, at '%.60s' of '%s'", what, p->at, p->text);
}

// ---- words

static void skip_space(Ptx *p) {
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static bool accept(Ptx *p, char c) {
    skip_space(p);
    if (*p->at != c) return false;
    p->at++;
    return true;
}

static void expect(Ptx *p, char c, const char *what) {
    if (!accept(p, c)) ptx_fail(p, what);
}

// Letters, digits, _ and ., :: of modifiers, and %= of labels.
static Str name_read(Ptx *p) {
    skip_space(p);
    const char *start = p->at;
    for (;;) {
        bool pair = strncmp(p->at, "::", 2) == 0 || strncmp(p->at, "%=", 2) == 0;
        if (!pair && !isalnum((unsigned char)*p->at) && *p->at != '_' && *p->at != '.') break;
        p->at += pair ? 2 : 1;
    }
    if (p->at == start) ptx_fail(p, "a name is missing");
    return (Str){start, (size_t)(p->at - start)};
}

static uint32_t decimal_read(Ptx *p) {
    char *end;
    unsigned long n = strtoul(p->at, &end, 0);
    p->at = end;
    return (uint32_t)n;
}

// ---- registers

static PtxRegister *local_find(Ptx *p, Str name) {
    for (uint32_t i = 0; i < p->local_count; i++)
        if (str_eq(p->locals[i].name, name)) return &p->locals[i];
    return NULL;
}

static void local_declare(Ptx *p) {
    Str type = name_read(p), name = name_read(p);
    bool predicate = str_eq(type, STR(".pred"));
    if (!predicate && !str_eq(type, STR(".b32"))) ptx_fail(p, "a type of no register here");
    if (p->local_count == sizeof p->locals / sizeof *p->locals || local_find(p, name))
        ptx_fail(p, "a register too many");
    p->locals[p->local_count++] =
        (PtxRegister){.name = name, .kind = predicate ? 'p' : 'r', .block = SIMT_OWN};
}

void *ptx_address(const PtxArg *a) {
    void *at;
    memcpy(&at, &a->operand->value, sizeof at);
    return at;
}

void ptx_set(Ptx *p, uint32_t arg, uint64_t value) {
    const PtxArg *a = &p->args[arg];
    if (a->local) {
        a->local->value = value;
        a->local->block = SIMT_OWN;
        a->local->set = true;
    } else {
        memcpy(ptx_address(a), &value, a->operand->bytes);
    }
}

void ptx_set_float(Ptx *p, uint32_t arg, float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    ptx_set(p, arg, bits);
}

float ptx_float(const Ptx *p, uint32_t arg) {
    uint32_t bits = (uint32_t)p->args[arg].value;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// ---- operands

// Constraints say what the compiler puts there: of the same size, and a float only in 'f'.
static void operand_check(const Ptx *p, const SimtOperand *o) {
    uint32_t bytes = o->kind == 'h' ? 2 : o->kind == 'l' ? 8 : 4;
    if (!strchr("rhfln", o->kind)) ptx_fail(p, "an unknown constraint");
    if ((o->kind != 'n' && o->bytes != bytes) || o->is_float != (o->kind == 'f'))
        ptx_fail(p, "a constraint that does not fit its operand");
}

static PtxArg operand_read(Ptx *p) {
    uint32_t n = decimal_read(p);
    if (n >= p->operand_count) ptx_fail(p, "there is no such operand");
    const SimtOperand *o = &p->operands[n];
    operand_check(p, o);
    PtxArg arg = {.kind = o->kind, .value = o->value, .operand = o};
    if (o->kind == 'n') arg.kind = 'i';
    if (o->written) memcpy(&arg.value, ptx_address(&arg), o->bytes);
    return arg;
}

static PtxArg arg_read(Ptx *p) {
    if (p->at[0] == '%' && isdigit((unsigned char)p->at[1])) {
        p->at++;
        return operand_read(p);
    }
    if (isdigit((unsigned char)*p->at)) return (PtxArg){.kind = 'i', .value = decimal_read(p)};
    if (strncmp(p->at, "%%", 2) == 0) {
        p->at += 2;
        return (PtxArg){.kind = 's', .name = name_read(p)};
    }
    Str name = name_read(p);
    if (str_eq(name, STR("_"))) return (PtxArg){.kind = '_'};
    PtxRegister *local = local_find(p, name);
    if (!local) return (PtxArg){.kind = ':', .name = name};
    return (PtxArg){.kind = local->kind, .value = local->value, .local = local};
}

static void shape_add(Ptx *p, size_t *length, char c) {
    if (*length + 1 == sizeof p->shape || p->arg_count == PTX_ARGS)
        ptx_fail(p, "too many operands");
    p->shape[(*length)++] = c;
}

// Operands up to ';'. Commas stand between what does not open and what does not close.
static void args_read(Ptx *p) {
    size_t length = 0;
    bool after = false;  // an operand
    p->arg_count = 0;
    for (skip_space(p); *p->at != ';'; skip_space(p)) {
        if (*p->at == '}' || *p->at == ']') {
            shape_add(p, &length, *p->at++);
            after = true;
            continue;
        }
        if (after) expect(p, ',', "a comma is missing");
        skip_space(p);
        after = *p->at != '{' && *p->at != '[';
        if (!after) {
            shape_add(p, &length, *p->at++);
            continue;
        }
        PtxArg arg = arg_read(p);
        shape_add(p, &length, arg.kind);
        p->args[p->arg_count++] = arg;
    }
    p->shape[length] = 0;
    p->at++;
}

// ---- statements

static void jump(Ptx *p) {
    Str to = p->args[0].name;
    if (p->arg_count != 1 || p->args[0].kind != ':') ptx_fail(p, "a branch to no label");
    if (++p->jumps > JUMPS_MAX) ptx_fail(p, "it does not end");
    for (const char *at = p->text; (at = strstr(at, ":")); at++) {
        if ((size_t)(at - p->text) < to.len || memcmp(at - to.len, to.ptr, to.len) != 0)
            continue;
        p->at = at + 1;
        return;
    }
    ptx_fail(p, "there is no such label");
}

static bool predicate_read(Ptx *p) {
    bool inverted = accept(p, '!');
    const PtxRegister *local = local_find(p, name_read(p));
    if (!local || local->kind != 'p' || !local->set) ptx_fail(p, "no predicate");
    return (local->value != 0) != inverted;
}

static void statement(Ptx *p) {
    bool runs = !accept(p, '@') || predicate_read(p);
    p->opcode = name_read(p);
    if (accept(p, ':')) return;
    if (str_eq(p->opcode, STR(".reg"))) {
        local_declare(p);
        expect(p, ';', "a semicolon is missing");
        return;
    }
    args_read(p);
    if (!runs) return;
    if (str_eq(p->opcode, STR("bra")))
        jump(p);
    else
        ptx_execute(p);
}

void call_ptx(Machine *m, const char *text, const SimtOperand *operands, uint32_t count) {
    Ptx p = {.m = m, .text = text, .at = text, .operands = operands, .operand_count = count};
    uint32_t depth = 0;
    for (skip_space(&p); *p.at; skip_space(&p)) {
        if (accept(&p, '{'))
            depth++;
        else if (depth && accept(&p, '}'))
            depth--;
        else
            statement(&p);
    }
    if (depth) ptx_fail(&p, "a block that does not end");
    if (p.cluster_arrived)
        ptx_fail(&p, "the model has no arrival of clusters without its wait");
}
