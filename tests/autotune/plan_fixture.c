// plan_fixture.c: as small a request as there can be.
#include "tests/autotune/plan_fixture.h"

#include "tests/test.h"

void plan_fixture_open(PlanFixture *f, IsaLevel level) {
    *f = (PlanFixture){.entry.name = STR("forward")};
    diag_init(&f->diag, &f->arena);
    assert_true(database_open(&f->diag, (Str){0}, &f->db));
    f->plan = (PlanRequest){.model = STR("test"),
                            .target = {.level = level, .threads = 2, .db = f->db},
                            .run_threads = 1,
                            .entries = &f->entry,
                            .entry_count = 1};
}

void plan_fixture_close(PlanFixture *f) {
    database_close(f->db);
    arena_release(&f->arena);
}
