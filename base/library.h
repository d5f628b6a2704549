// library.h: shared libraries that are looked for when they are first needed, so that strata is
// built and starts without them.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

typedef struct {
    const char *variable;       // of the environment: a file, or a folder with `file`, which is
                                // then the only place
    const char *file;           // its name, as a pattern: "libnvrtc.so*"
    const char *const *places;  // patterns of paths, or names for the loader
    size_t place_count;
    const char *const *symbols;  // functions that it must have
    size_t symbol_count;
} LibrarySpec;

// Fills `table`, as many function pointers one behind the other, from the first library that
// has them all; it stays open for ever. False: there is none; *lacks is a function that the
// library found last does not have; NULL: none was found.
MUST_USE bool library_open(const LibrarySpec *spec, void *table, const char **lacks);
