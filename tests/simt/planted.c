// planted.c: see planted.h.
#include "tests/simt/planted.h"

#include "tests/test.h"

void planted_run(Simt *simt, const Planted *planted, uint32_t count) {
    Arena arena = {0};
    uint32_t missed = 0;
    for (uint32_t i = 0; i < count; i++) {
        SimtCase c = simt_case(&arena, planted[i].kernel);
        Diag found;
        diag_init(&found, &arena);
        bool passed = simt_check(&found, simt, i, (SimtArgs){c.args, c.count});
        if (!mutation_noticed(&planted[i].mutation, &found, passed, passed && c.right(&c)))
            missed++;
    }
    simt_close(simt);
    arena_release(&arena);
    assert_int_equal(missed, 0);
}
