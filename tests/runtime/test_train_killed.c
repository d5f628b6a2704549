// test_train_killed.c: a training process killed at any moment, or stopped by a full disk, and
// resumed ends with the bits of one that never was.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "tests/runtime/tiny_model.h"

enum { STEPS = 60, ROUNDS = 6, KILLS_MAX = 200 };

static TrainOptions options_of(const Str *texts, Str out, uint32_t accumulate) {
    TrainOptions o = tiny_options(texts, out);
    o.eval_data = texts + 1;
    o.eval_count = 1;
    o.eval_every = 7;
    o.checkpoint_every = 3;
    o.steps = o.schedule.steps = STEPS;
    o.accumulate = accumulate;
    return o;
}

// The child's whole life.
static int train_once(const TrainOptions *options) {
    Arena arena = {0};
    Diag diag;
    Session *session;
    TrainResult result;
    TrainOptions o = *options;
    diag_init(&diag, &arena);
    // Where there is a link there must be a whole checkpoint, so the link itself is looked at.
    char target[64];
    Str latest = str_printf(&arena, "%.*s/latest", STR_ARG(o.out));
    if (readlink(latest.ptr, target, sizeof target) > 0) o.resume = o.out;
    Plan *plan = tiny_plan(&diag, &arena);
    bool ok = session_open(&diag, plan, 1, &session) &&
              train_run(&diag, &arena, session, &o, &result);
    if (!ok) {
        StrBuf text = {0};
        diag_render(&diag, &text);
        print_error("%s", text.ptr);
        strbuf_release(&text);
    }
    session_close(session);
    arena_release(&arena);
    return ok ? 0 : 1;
}

// Runs a child, and kills it after `us` microseconds unless it is done; true: it is done.
static bool run_child(const TrainOptions *o, unsigned us) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) _exit(train_once(o));
    int status;
    usleep(us);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) return false;
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

// Metrics without what depends on time.
static void add_stable(StrBuf *out, Str text) {
    const Str times = STR("\"tokens_per_second\":"), after = STR("\"eval_loss\":");
    for (size_t i = 0; i < text.len; i++) {
        Str rest = {text.ptr + i, text.len - i};
        if (str_starts(rest, times)) {
            while (text.ptr[i] != '}' && !str_starts((Str){text.ptr + i, text.len - i}, after))
                i++;
        }
        strbuf_addc(out, text.ptr[i]);
    }
}

static void assert_same(Tiny *f, const char *name, Str left, Str right) {
    StrBuf texts[2] = {0};
    const Str directories[2] = {left, right};
    for (int i = 0; i < 2; i++) {
        Str path = str_printf(&f->arena, "%.*s/%s", STR_ARG(directories[i]), name);
        add_stable(&texts[i], tiny_read(f, path));
    }
    assert_true(texts[0].len > 100);
    assert_true(str_eq(strbuf_view(&texts[0]), strbuf_view(&texts[1])));
    strbuf_release(&texts[0]);
    strbuf_release(&texts[1]);
}

static uint32_t kill_until_done(const TrainOptions *o, uint64_t round, double seconds) {
    uint32_t kills = 0;
    // From a fraction of a whole run, so that a run is cut into some five parts; the wait grows
    // so that a slow disk does not keep it from ever being done.
    double most = seconds / 3 * 1e6;
    while (kills < KILLS_MAX) {
        double wait = most * rng_uniform(round, kills);
        if (run_child(o, (unsigned)wait)) break;
        kills++;
        most *= 1.05;
    }
    assert_true(kills < KILLS_MAX);
    return kills;
}

static void ends_with_the_same_bits(void **state) {
    Tiny *f = *state;
    Str texts[] = {tiny_text(f, "text", 500), tiny_text(f, "held", 61)};
    uint32_t kills = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint32_t accumulate = 1 + round % 2;
        char whole[32], parts[32], last[64];
        snprintf(whole, sizeof whole, "whole%u", (unsigned)round);
        snprintf(parts, sizeof parts, "parts%u", (unsigned)round);
        snprintf(last, sizeof last, "checkpoint-%d.safetensors", STEPS);
        TrainOptions o = options_of(texts, tiny_path(f, whole), accumulate);
        double before = clock_seconds();
        assert_int_equal(train_once(&o), 0);
        double seconds = clock_seconds() - before;
        o.out = tiny_path(f, parts);
        kills += kill_until_done(&o, round, seconds);
        assert_same(f, "params.safetensors", tiny_path(f, whole), o.out);
        assert_same(f, last, tiny_path(f, whole), o.out);
        assert_same(f, "metrics.jsonl", tiny_path(f, whole), o.out);
    }
    // Most runs were killed at least once, else this test says nothing.
    assert_true(kills >= ROUNDS);
}

// Files may not grow past `bytes`, as on a full disk.
static int train_limited(const TrainOptions *o, rlim_t bytes) {
    struct rlimit limit = {bytes, bytes};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0) return 2;
    return train_once(o);
}

// The metrics fill the "disk" first; what is there goes on when there is room again.
static void survives_a_full_disk(void **state) {
    Tiny *f = *state;
    Str texts[] = {tiny_text(f, "text", 500), tiny_text(f, "held", 61)};
    TrainOptions o = options_of(texts, tiny_path(f, "whole"), 1);
    assert_int_equal(train_once(&o), 0);
    o.out = tiny_path(f, "full");
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) _exit(train_limited(&o, 6000));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    Str metrics = tiny_read(f, tiny_path(f, "full/metrics.jsonl"));
    assert_true(metrics.len > 0 && metrics.ptr[metrics.len - 1] == '\n');
    assert_int_equal(train_once(&o), 0);
    assert_same(f, "params.safetensors", tiny_path(f, "whole"), o.out);
    assert_same(f, "metrics.jsonl", tiny_path(f, "whole"), o.out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ends_with_the_same_bits, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(survives_a_full_disk, tiny_setup, tiny_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
