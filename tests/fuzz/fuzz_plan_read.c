// fuzz_plan_read.c: any bytes, also with their checksum made right, either are a plan, which
// can be written and read again, or give one error.
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "runtime/plan_format.h"
#include "tests/runtime/plan_sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(Str bytes) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Plan *plan = NULL;
    if (plan_decode(&diag, &arena, STR("input"), bytes, &plan)) {
        StrBuf text = {0};
        plan_print(plan, &text);
        strbuf_clear(&text);
        plan_encode(plan, &text);
        Plan *again = NULL;
        ASSERT(plan_decode(&diag, &arena, STR("again"), strbuf_view(&text), &again));
        strbuf_release(&text);
    } else {
        ASSERT(diag.error_count == 1);
    }
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    decode((Str){(const char *)data, size});
    if (size < PLAN_HEADER) return 0;
    unsigned char *copy = malloc(size);
    if (!copy) return 0;
    memcpy(copy, data, size);
    Str magic = STR(PLAN_MAGIC);
    memcpy(copy, magic.ptr, magic.len);
    plan_sample_seal(copy, size);
    decode((Str){(const char *)copy, size});
    free(copy);
    return 0;
}
