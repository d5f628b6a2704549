// line_table.c: see line_table.h. The section holds a header with file names, then a program
// for a machine with the registers address, file and line, whose rows are the table.
#include "tests/codegen/line_table.h"

#include <elf.h>

#include "tests/test.h"

enum { MOST_FILES = 16, MOST_ROWS = 10000 };

typedef struct {
    Str left;
    Str files[MOST_FILES + 1];  // from 1
    int file_count;
    uint8_t step_least, opcode_base, operands[256];
    int8_t line_base;
    uint8_t line_range;
    uint64_t address, file, line;
    LineTable table;
} Reader;

Str object_section(Str object, const char *name) {
    const Elf64_Ehdr *header = (const void *)object.ptr;
    const Elf64_Shdr *sections = (const void *)(object.ptr + header->e_shoff);
    const char *names = object.ptr + sections[header->e_shstrndx].sh_offset;
    for (uint32_t i = 1; i < header->e_shnum; i++)
        if (strcmp(names + sections[i].sh_name, name) == 0)
            return (Str){object.ptr + sections[i].sh_offset, sections[i].sh_size};
    return (Str){0};
}

static Str take(Reader *r, size_t bytes) {
    assert_true(bytes <= r->left.len);
    Str taken = {r->left.ptr, bytes};
    r->left = (Str){r->left.ptr + bytes, r->left.len - bytes};
    return taken;
}

static uint64_t number(Reader *r, size_t bytes) {
    uint64_t x = 0;
    memcpy(&x, take(r, bytes).ptr, bytes);
    return x;
}

static uint64_t leb(Reader *r, bool has_sign) {
    uint64_t x = 0, byte = 0x80;
    unsigned shift = 0;
    for (; byte & 0x80; shift += 7) {
        byte = number(r, 1);
        x |= (byte & 0x7f) << shift;
    }
    if (has_sign && shift < 64 && byte & 0x40) x |= ~(uint64_t)0 << shift;
    return x;
}

static Str text(Reader *r) {
    const char *end = memchr(r->left.ptr, 0, r->left.len);
    assert_non_null(end);
    Str taken = take(r, (size_t)(end - r->left.ptr) + 1);
    return (Str){taken.ptr, taken.len - 1};
}

static void header_read(Reader *r) {
    number(r, 4);
    assert_int_equal(number(r, 2), 4);  // version
    number(r, 4);
    r->step_least = (uint8_t)number(r, 1);
    number(r, 2);  // operations of an instruction, whether rows are statements at first
    r->line_base = (int8_t)number(r, 1);
    r->line_range = (uint8_t)number(r, 1);
    r->opcode_base = (uint8_t)number(r, 1);
    for (int i = 1; i < r->opcode_base; i++)
        r->operands[i] = (uint8_t)number(r, 1);
    while (text(r).len > 0) {
    }  // folders
    for (Str file = text(r); file.len > 0; file = text(r)) {
        assert_true(r->file_count < MOST_FILES);
        r->files[++r->file_count] = file;
        for (int i = 0; i < 3; i++)
            leb(r, false);
    }
}

static void row_add(Reader *r) {
    if (r->line == 0) return;
    assert_in_range(r->file, 1, r->file_count);
    assert_true(r->table.count < MOST_ROWS);
    r->table.rows[r->table.count++] =
        (LineRow){r->files[r->file], (uint32_t)r->line, r->address};
}

static void extended(Reader *r) {
    uint64_t bytes = leb(r, false), code = number(r, 1);
    Str operand = take(r, bytes - 1);
    if (code == 2) memcpy(&r->address, operand.ptr, 8);
    if (code != 1) return;
    r->address = 0;
    r->file = r->line = 1;
}

static void standard(Reader *r, uint8_t code) {
    switch (code) {
    case 1: row_add(r); return;
    case 2: r->address += leb(r, false) * r->step_least; return;
    case 3: r->line += leb(r, true); return;
    case 4: r->file = leb(r, false); return;
    case 8: r->address += (uint64_t)(255 - r->opcode_base) / r->line_range; return;
    case 9: r->address += number(r, 2); return;
    default:
        for (int i = 0; i < r->operands[code]; i++)
            leb(r, false);
    }
}

LineTable line_table_read(Arena *arena, Str object) {
    Reader r = {.left = object_section(object, ".debug_line"), .file = 1, .line = 1};
    r.table.rows = arena_array(arena, LineRow, MOST_ROWS);
    if (r.left.len == 0) return r.table;
    header_read(&r);
    while (r.left.len > 0) {
        uint8_t code = (uint8_t)number(&r, 1);
        if (code == 0) {
            extended(&r);
        } else if (code < r.opcode_base) {
            standard(&r, code);
        } else {
            r.address += (uint64_t)((code - r.opcode_base) / r.line_range) * r.step_least;
            r.line += (uint64_t)(int64_t)(r.line_base + (code - r.opcode_base) % r.line_range);
            row_add(&r);
        }
    }
    return r.table;
}
