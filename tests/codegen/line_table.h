// line_table.h: reads the line table of an object (DWARF 4), for tests.
#pragma once

#include "base/arena.h"
#include "base/str.h"

typedef struct {
    Str file;
    uint32_t line;
    uint64_t address;  // from the function's start, if the object is not linked
} LineRow;

typedef struct {
    LineRow *rows;
    uint32_t count;
} LineTable;

// A section of an ELF object; empty: there is none.
Str object_section(Str object, const char *name);
// The rows that belong to a line. Empty without a table; fails the test if it is not sound.
LineTable line_table_read(Arena *arena, Str object);
