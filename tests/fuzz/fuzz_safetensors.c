// fuzz_safetensors.c: any bytes either are a file whose every tensor can be read, or give one
// error.
#include <stdint.h>

#include "base/check.h"
#include "runtime/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    TensorFile file;
    Str bytes = {(const char *)data, size};
    if (safetensors_parse(&diag, &arena, STR("input"), bytes, &file)) {
        for (uint32_t i = 0; i < file.tensor_count; i++) {
            const StoredTensor *t = &file.tensors[i];
            ASSERT(safetensors_find(&file, t->name) == t);
            for (int64_t k = 0; k < stored_count(t); k++)
                (void)dtype_get(t->type, t->data, k);
        }
    } else {
        ASSERT(diag.error_count == 1);
    }
    arena_release(&arena);
    return 0;
}
