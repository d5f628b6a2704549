// object_file.h: loaded code as debuggers and profilers want it: a linked ELF file with the
// kernel's name and its line table, from which the code is mapped, so that perf finds it, and
// of which gdb is told. Only where the variable STRATA_DEBUG names a folder for such files.
#pragma once

#include "base/diag.h"

// NULL: nothing is published.
const char *object_file_folder(void);

typedef struct {
    Str name;
    uint64_t place, bytes;  // in the image
    uint64_t flags;         // of ELF
} ObjectSection;

// The function's.
typedef struct {
    uint64_t address, bytes;
} ObjectEntry;

typedef struct {
    Str name;  // the kernel's
    Str folder;
    void *base;  // of whole pages, relocated for this place
    uint64_t bytes;
    ObjectEntry entry;
    ObjectSection *sections;
    uint32_t count;
} ObjectImage;

typedef struct ObjectFile ObjectFile;

// Writes the file and maps the image from it, where it is. Thread-safe. False: the folder
// cannot be written.
MUST_USE bool object_file_open(Diag *diag, const ObjectImage *image, ObjectFile **out);
void object_file_close(ObjectFile *file);  // the file stays, for reports; NULL is safe
