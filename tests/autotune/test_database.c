// test_database.c: what is written is found again, by other processes too; files that are no
// databases are left alone.
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autotune/database.h"
#include "base/io.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    char directory[64];
    Str path;
    Database *db;  // at path; opened by `begin`
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    snprintf(f->directory, sizeof f->directory, "/tmp/strata_database_XXXXXX");
    if (!mkdtemp(f->directory)) return -1;
    f->path = str_printf(&f->arena, "%s/tune.db", f->directory);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    database_close(f->db);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", f->directory);
    int rc = system(command);
    arena_release(&f->arena);
    test_free(f);
    return rc;
}

static Database *begin(Fixture *f) {
    assert_true(database_open(&f->diag, f->path, &f->db));
    return f->db;
}

static Hash hash_of(const char *text) { return hash_bytes(text, strlen(text)); }

static Trial trial_of(uint32_t rank, int mr, double median, double half_width) {
    static const double samples[] = {3, 1, 2};
    Trial t = {.region = hash_of("region"),
               .context = hash_of("context"),
               .schedule = schedule_none(),
               .rank = rank,
               .status = TRIAL_OK,
               .samples = samples,
               .sample_count = 3,
               .median = median,
               .low = median - half_width,
               .high = median + half_width,
               .at = 1000 + rank};
    t.schedule.mr = mr;
    return t;
}

static int best_mr(Database *db) {
    Schedule s;
    double median;
    if (!database_best(db, hash_of("region"), hash_of("context"), &s, &median)) return -1;
    return s.mr;
}

// Runs `body` in another process; its exit status. Pass values on by exit alone.
static int in_process(Fixture *f, int (*body)(Fixture *f, int number), int number) {
    pid_t pid = fork();
    if (pid == 0) _exit(body(f, number));
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// ---- contents

static void code_is_found_by_its_key(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    EmittedKernel kernel = {.object = STR("machine\0code"),
                            .scratch_bytes = 64,
                            .tasks = 7,
                            .launch.registers = 168,
                            .spill_bytes = 12,
                            .notes = STR("slow")},
                  got = {0};
    Hash key = code_key(hash_of("program"), CPU_AVX2, STR("emitter 1"));
    assert_false(database_code_find(db, &f->arena, key, &got));
    database_code_add(db, key, &kernel);
    database_close(db);
    db = begin(f);
    assert_true(database_code_find(db, &f->arena, key, &got));
    assert_true(str_eq(got.object, kernel.object));
    assert_int_equal(got.tasks, 7);
    assert_int_equal(got.scratch_bytes, 64);
    assert_int_equal(got.launch.registers, 168);
    assert_int_equal(got.spill_bytes, 12);
    assert_true(str_eq(got.notes, STR("slow")));
    Hash other = code_key(hash_of("program"), CPU_AVX2, STR("emitter 2"));
    assert_false(database_code_find(db, &f->arena, other, &got));
    other = code_key(hash_of("program"), CPU_AVX512, STR("emitter 1"));
    assert_false(database_code_find(db, &f->arena, other, &got));
    assert_int_equal(database_counts(db).code_bytes, 12);
}

static void trials_keep_their_samples(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    Trial t = trial_of(0, 6, 2, 0.5), *got;
    t.note = STR("a note");
    t.output = hash_of("bits");
    assert_true(database_trial_add(db, &t));
    Trial failed = trial_of(1, 8, 0, 0);
    failed.status = TRIAL_CRASH;
    failed.sample_count = 0;
    assert_true(database_trial_add(db, &failed));
    assert_int_equal(database_trials(db, &f->arena, t.region, t.context, &got), 2);
    assert_int_equal(got[0].sample_count, 3);
    assert_memory_equal(got[0].samples, t.samples, 3 * sizeof(double));
    assert_true(got[0].median == 2 && got[0].low == 1.5 && got[0].high == 2.5);
    assert_str(got[0].note, "a note");
    assert_true(hash_eq(got[0].output, t.output));
    assert_int_equal(got[0].schedule.mr, 6);
    assert_int_equal(got[1].status, TRIAL_CRASH);
    assert_int_equal(database_trials(db, &f->arena, t.context, t.region, &got), 0);
    assert_true(database_verify(&f->diag, db));
}

static void same_trial_is_one_row(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    Trial t = trial_of(0, 6, 2, 0.5);
    assert_true(database_trial_add(db, &t));
    assert_true(database_trial_add(db, &t));
    assert_int_equal(database_counts(db).trials, 1);
}

static void best_is_the_fastest(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    assert_int_equal(best_mr(db), -1);
    const Trial trials[] = {trial_of(0, 4, 100, 1), trial_of(1, 6, 50, 1),
                            trial_of(2, 8, 70, 1)};
    for (size_t i = 0; i < 3; i++)
        assert_true(database_trial_add(db, &trials[i]));
    assert_int_equal(best_mr(db), 6);
    // Without code, wrong, or given up: whatever the time says.
    Trial wrong = trial_of(3, 9, 10, 1), slow = trial_of(4, 10, 10, 1);
    wrong.status = TRIAL_WRONG;
    slow.status = TRIAL_SLOW;
    assert_true(database_trial_add(db, &wrong));
    assert_true(database_trial_add(db, &slow));
    assert_int_equal(best_mr(db), 6);
}

static void ties_go_to_the_prior(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    const Trial trials[] = {trial_of(3, 4, 50.0, 2), trial_of(1, 6, 50.5, 2),
                            trial_of(0, 8, 58.0, 20), trial_of(2, 9, 50.2, 2)};
    for (size_t i = 0; i < 4; i++)
        assert_true(database_trial_add(db, &trials[i]));
    // 8 comes first in the prior's order, but its interval is wide because it is bad.
    assert_int_equal(best_mr(db), 6);
}

static void later_trial_replaces_an_earlier_one(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    Trial first = trial_of(0, 6, 50, 1), other = trial_of(1, 8, 60, 1), again = first;
    again.median = 90;
    again.low = 89;
    again.high = 91;
    again.at = first.at + 100;
    assert_true(database_trial_add(db, &first));
    assert_true(database_trial_add(db, &other));
    assert_int_equal(best_mr(db), 6);
    assert_true(database_trial_add(db, &again));
    assert_int_equal(best_mr(db), 8);
}

static void failures_are_poisoned(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    Trial t = trial_of(0, 6, 0, 0);
    for (int status = 0; status < TRIAL_STATUS_COUNT; status++) {
        t.status = (TrialStatus)status;
        t.schedule.mr = status + 1;
        t.at++;
        assert_true(database_trial_add(db, &t));
        bool bad = status != TRIAL_OK && status != TRIAL_SLOW;
        assert_int_equal(database_poisoned(db, t.region, t.context, &t.schedule), bad);
    }
    assert_false(database_poisoned(db, t.region, t.region, &t.schedule));
}

static void peaks_belong_to_the_machine(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    TuneContext context = {STR("cpu"), CPU_AVX2, 2, STR("emitter 1")};
    MachinePeaks peaks = {1e11, 2e10, 3e10, 4e10}, got;
    assert_false(database_peaks_find(db, &context, &got));
    database_context_add(db, &context);
    assert_false(database_peaks_find(db, &context, &got));
    database_peaks_add(db, &context, &peaks);
    context.emitter = STR("emitter 2");
    assert_true(database_peaks_find(db, &context, &got));
    assert_true(got.flops == 1e11 && got.read_bytes == 2e10);
    database_peaks_add(db, &context, &(MachinePeaks){2e11, 1e10, 1e10, 1e10});
    assert_true(database_peaks_find(db, &context, &got));
    assert_true(got.flops == 2e11 && got.read_bytes == 2e10);
    assert_true(got.l3_bytes == 3e10 && got.l2_bytes == 4e10);
    context.threads = 1;
    assert_false(database_peaks_find(db, &context, &got));
}

static void regions_are_listed_with_their_best(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    TuneContext context = {STR("a cpu"), CPU_AVX2, 2, STR("emitter 1")};
    database_context_add(db, &context);
    database_region_add(db, hash_of("region"), STR("rms_norm.3"), STR("text"));
    Trial trials[] = {trial_of(0, 4, 100, 1), trial_of(1, 6, 50, 1)};
    trials[1].note = STR("x");
    for (size_t i = 0; i < 2; i++) {
        trials[i].context = tune_context_hash(&context);
        assert_true(database_trial_add(db, &trials[i]));
    }
    DatabaseRegion *regions;
    assert_int_equal(database_regions(db, &f->arena, &regions), 1);
    assert_str(regions[0].name, "rms_norm.3");
    assert_str(regions[0].cpu, "a cpu");
    assert_int_equal(regions[0].trials, 2);
    assert_int_equal(regions[0].best.mr, 6);
    assert_true(regions[0].median == 50);
}

// ---- many at once

enum { WRITERS = 4, ROWS = 60 };

static int write_rows(Fixture *f, int number) {
    Database *db;
    if (!database_open(&f->diag, f->path, &db)) return 1;
    Trial t = trial_of(0, 1 + number, 10, 1);
    for (int i = 0; i < ROWS; i++) {
        t.at = 5000 + i;
        if (!database_trial_add(db, &t)) return 2;
    }
    database_close(db);
    return 0;
}

// They create the file, too, all at once.
static void concurrent_writers_lose_nothing(void **state) {
    Fixture *f = *state;
    pid_t pids[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) _exit(write_rows(f, i));
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = -1;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(database_counts(begin(f)).trials, WRITERS * ROWS);
    assert_true(database_verify(&f->diag, f->db));
}

static void *write_rows_thread(void *context) {
    Database *db = context;
    static _Atomic int number;
    Trial t = trial_of(0, 1 + number++, 10, 1);
    for (int i = 0; i < ROWS; i++) {
        t.at = 5000 + i;
        if (!database_trial_add(db, &t)) return db;
    }
    return NULL;
}

static void threads_share_a_database(void **state) {
    Fixture *f = *state;
    begin(f);
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_rows_thread, f->db), 0);
    for (int i = 0; i < WRITERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(database_counts(f->db).trials, WRITERS * ROWS);
}

static int claim_once(Fixture *f, int seconds) {
    Database *db;
    if (!database_open(&f->diag, f->path, &db)) return 9;
    bool got = database_claim(db, hash_of("key"), seconds);
    database_release(db, hash_of("other key"));
    database_close(db);
    return got;
}

static void claim_is_held_by_one(void **state) {
    Fixture *f = *state;
    Database *db = begin(f);
    assert_true(database_claim(db, hash_of("key"), 1000));
    assert_true(database_claim(db, hash_of("key"), 1000));
    assert_int_equal(in_process(f, claim_once, 1000), 0);
    database_release(db, hash_of("key"));
    // The child dies with the claim. It was for less than no time.
    assert_int_equal(in_process(f, claim_once, -5), 1);
    assert_true(database_claim(db, hash_of("key"), 1000));
    // A process that is no more holds nothing, however long it wanted to.
    database_release(db, hash_of("key"));
    assert_int_equal(in_process(f, claim_once, 1000), 1);
    assert_true(database_claim(db, hash_of("key"), 1000));
}

// ---- files that are wrong

static void write_file(Fixture *f, Str bytes) {
    assert_true(io_write(&f->diag, f->path, bytes.ptr, bytes.len));
}

static Str read_file(Fixture *f) {
    Str bytes = {0};
    assert_true(io_read(&f->diag, &f->arena, f->path, &bytes));
    return bytes;
}

static void refuse(Fixture *f, Fail fail, const char *text) {
    Database *db = NULL;
    assert_false(database_open(&f->diag, f->path, &db));
    assert_int_equal(f->diag.fail, fail);
    assert_diag_has(&f->diag, text);
    assert_diag_has(&f->diag, arena_printf(&f->arena, "%.*s: error: ", STR_ARG(f->path)));
}

static void text_file_is_refused(void **state) {
    Fixture *f = *state;
    Str text = str_printf(&f->arena, "%s", "just some notes, and nothing else than that\n");
    write_file(f, text);
    refuse(f, FAIL_INPUT, "not a tuning database");
    assert_true(str_eq(read_file(f), text));
}

static void damaged_file_is_refused(void **state) {
    Fixture *f = *state;
    Trial t = trial_of(0, 6, 2, 0.5);
    assert_true(database_trial_add(begin(f), &t));
    database_close(f->db);
    f->db = NULL;
    Str whole = read_file(f);
    // The first page holds the table of contents.
    char *bytes = arena_strndup(&f->arena, whole.ptr, whole.len);
    memset(bytes + 100, 0xa5, 3000);
    write_file(f, (Str){bytes, whole.len});
    refuse(f, FAIL_INPUT, "damaged");
    assert_memory_equal(read_file(f).ptr, bytes, whole.len);
}

static void truncated_file_is_refused(void **state) {
    Fixture *f = *state;
    database_close(begin(f));
    f->db = NULL;
    Str whole = read_file(f);
    write_file(f, (Str){whole.ptr, whole.len / 2});
    refuse(f, FAIL_INPUT, "damaged");
    assert_int_equal(read_file(f).len, whole.len / 2);
}

static void run_sql(Fixture *f, const char *text) {
    sqlite3 *sql = NULL;
    assert_int_equal(sqlite3_open(f->path.ptr, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
}

static void foreign_database_is_refused(void **state) {
    Fixture *f = *state;
    run_sql(f, "CREATE TABLE recipes(name TEXT)");
    refuse(f, FAIL_INPUT, "not a tuning database of Strata");
}

static void later_version_is_refused(void **state) {
    Fixture *f = *state;
    database_close(begin(f));
    f->db = NULL;
    run_sql(f, "PRAGMA user_version = 999");
    refuse(f, FAIL_INPUT, "version 999");
}

static void earlier_version_is_upgraded(void **state) {
    Fixture *f = *state;
    Trial t = trial_of(0, 6, 2, 0.5);
    assert_true(database_trial_add(begin(f), &t));
    database_close(f->db);
    run_sql(f, "ALTER TABLE code DROP COLUMN registers;"
               "ALTER TABLE code DROP COLUMN spills; ALTER TABLE code DROP COLUMN notes;"
               "ALTER TABLE device DROP COLUMN l2_bytes;"
               "ALTER TABLE device DROP COLUMN l3_bytes; PRAGMA user_version = 1");
    TuneContext context = {STR("cpu"), CPU_AVX2, 2, STR("emitter 1")};
    MachinePeaks peaks = {1e11, 2e10, 3e10, 4e10};
    database_peaks_add(begin(f), &context, &peaks);
    assert_true(database_peaks_find(f->db, &context, &peaks));
    assert_int_equal(best_mr(f->db), 6);
    assert_int_equal(database_write_failures(f->db), 0);
    assert_true(database_verify(&f->diag, f->db));
}

static void directories_are_made(void **state) {
    Fixture *f = *state;
    f->path = str_printf(&f->arena, "%s/a/b/c/tune.db", f->directory);
    Trial t = trial_of(0, 6, 2, 0.5);
    assert_true(database_trial_add(begin(f), &t));
    assert_true(io_exists(f->path));
}

static void unwritable_place_is_the_machines_fault(void **state) {
    Fixture *f = *state;
    f->path = STR("/proc/self/fdinfo/tune.db");
    refuse(f, FAIL_ENVIRONMENT, "cannot");
}

// A limit on the size of files stands in for a full disk.
static int open_without_space(Fixture *f, int bytes) {
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {(rlim_t)bytes, (rlim_t)bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
    Database *db;
    return database_open(&f->diag, f->path, &db) ? 100 : (int)f->diag.fail;
}

static int fill_up(Fixture *f, int bytes) {
    if (open_without_space(f, bytes) != 100) return 1;
    Database *db;
    if (!database_open(&f->diag, f->path, &db)) return 2;
    EmittedKernel kernel = {.object = {arena_alloc(&f->arena, 1 << 20, 1), 1 << 20},
                            .tasks = 1};
    database_code_add(db, hash_of("key"), &kernel);
    if (database_write_failures(db) == 0) return 3;
    bool found = database_code_find(db, &f->arena, hash_of("key"), &kernel);
    database_close(db);
    return found ? 4 : 0;
}

static void full_disk_is_the_machines_fault(void **state) {
    Fixture *f = *state;
    assert_int_equal(in_process(f, open_without_space, 2000), FAIL_ENVIRONMENT);
    assert_int_equal(in_process(f, fill_up, 400000), 0);
    database_counts(begin(f));
    assert_true(database_verify(&f->diag, f->db));
}

static void memory_database_needs_no_file(void **state) {
    Fixture *f = *state;
    f->path = (Str){0};
    Trial t = trial_of(0, 6, 2, 0.5);
    assert_true(database_trial_add(begin(f), &t));
    assert_int_equal(best_mr(f->db), 6);
}

// ---- copies and unions

static void merging_is_a_union(void **state) {
    Fixture *f = *state;
    Str other = str_printf(&f->arena, "%s/other.db", f->directory);
    Trial a = trial_of(0, 4, 100, 1), b = trial_of(1, 6, 50, 1), c = trial_of(2, 8, 0, 0);
    c.status = TRIAL_WRONG;
    begin(f);
    assert_true(database_trial_add(f->db, &a));
    assert_true(database_claim(f->db, hash_of("key"), 1000));
    assert_true(database_export(&f->diag, f->db, other));
    Database *copy;
    assert_true(database_open(&f->diag, other, &copy));
    assert_int_equal(database_counts(copy).trials, 1);
    assert_int_equal(in_process(f, claim_once, 1000), 0);
    assert_true(database_claim(copy, hash_of("key"), 1000));
    assert_true(database_trial_add(copy, &b));
    assert_true(database_trial_add(copy, &c));
    EmittedKernel kernel = {.object = STR("code"), .tasks = 1};
    database_code_add(copy, hash_of("key"), &kernel);
    database_close(copy);
    int64_t added;
    assert_true(database_merge(&f->diag, f->db, other, &added));
    assert_int_equal(added, 2);
    assert_true(database_merge(&f->diag, f->db, other, &added));
    assert_int_equal(added, 0);
    assert_int_equal(database_counts(f->db).trials, 3);
    assert_int_equal(database_counts(f->db).kernels, 0);
    assert_int_equal(best_mr(f->db), 6);
    assert_true(database_poisoned(f->db, c.region, c.context, &c.schedule));
    assert_true(database_verify(&f->diag, f->db));
}

static void merging_a_missing_or_wrong_file_changes_nothing(void **state) {
    Fixture *f = *state;
    begin(f);
    int64_t added;
    Str missing = str_printf(&f->arena, "%s/missing.db", f->directory);
    assert_false(database_merge(&f->diag, f->db, missing, &added));
    assert_int_equal(f->diag.fail, FAIL_INPUT);
    assert_false(io_exists(missing));
    Str notes = str_printf(&f->arena, "%s/notes.db", f->directory);
    assert_true(io_write(&f->diag, notes, "notes, and nothing but notes", 28));
    assert_false(database_merge(&f->diag, f->db, notes, &added));
    assert_int_equal(database_counts(f->db).trials, 0);
}

static void verify_finds_changed_code(void **state) {
    Fixture *f = *state;
    EmittedKernel kernel = {.object = STR("machine code"), .tasks = 1};
    database_code_add(begin(f), hash_of("key"), &kernel);
    assert_true(database_verify(&f->diag, f->db));
    run_sql(f, "UPDATE blob SET bytes = x'00'");
    assert_false(database_verify(&f->diag, f->db));
    assert_diag_has(&f->diag, "machine code differs from its hash");
    assert_false(database_code_find(f->db, &f->arena, hash_of("key"), &kernel));
}

static void verify_finds_impossible_rows(void **state) {
    Fixture *f = *state;
    Trial t = trial_of(0, 6, 2, 0.5);
    assert_true(database_trial_add(begin(f), &t));
    run_sql(f, "UPDATE trial SET ci_lo = 7, knobs = 'mr=x'");
    assert_false(database_verify(&f->diag, f->db));
    assert_diag_has(&f->diag, "median is not in its interval");
    assert_diag_has(&f->diag, "a schedule that cannot be read: mr=x");
}

static void pruning_keeps_what_was_measured(void **state) {
    Fixture *f = *state;
    Trial t = trial_of(0, 6, 2, 0.5);
    assert_true(database_trial_add(begin(f), &t));
    EmittedKernel kernel = {.object = STR("machine code"), .tasks = 1};
    database_code_add(f->db, hash_of("key"), &kernel);
    assert_true(database_prune(&f->diag, f->db));
    DatabaseCounts counts = database_counts(f->db);
    assert_int_equal(counts.trials, 1);
    assert_int_equal(counts.kernels, 0);
    assert_int_equal(counts.code_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(code_is_found_by_its_key, setup, teardown),
        cmocka_unit_test_setup_teardown(trials_keep_their_samples, setup, teardown),
        cmocka_unit_test_setup_teardown(same_trial_is_one_row, setup, teardown),
        cmocka_unit_test_setup_teardown(best_is_the_fastest, setup, teardown),
        cmocka_unit_test_setup_teardown(ties_go_to_the_prior, setup, teardown),
        cmocka_unit_test_setup_teardown(later_trial_replaces_an_earlier_one, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_are_poisoned, setup, teardown),
        cmocka_unit_test_setup_teardown(peaks_belong_to_the_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(regions_are_listed_with_their_best, setup, teardown),
        cmocka_unit_test_setup_teardown(concurrent_writers_lose_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_share_a_database, setup, teardown),
        cmocka_unit_test_setup_teardown(claim_is_held_by_one, setup, teardown),
        cmocka_unit_test_setup_teardown(text_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_database_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(later_version_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(earlier_version_is_upgraded, setup, teardown),
        cmocka_unit_test_setup_teardown(directories_are_made, setup, teardown),
        cmocka_unit_test_setup_teardown(unwritable_place_is_the_machines_fault, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(full_disk_is_the_machines_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_database_needs_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(merging_is_a_union, setup, teardown),
        cmocka_unit_test_setup_teardown(merging_a_missing_or_wrong_file_changes_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(verify_finds_changed_code, setup, teardown),
        cmocka_unit_test_setup_teardown(verify_finds_impossible_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(pruning_keeps_what_was_measured, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
