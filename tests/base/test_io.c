// test_io.c: files that work, and every way they fail: missing, a directory, unwritable, full.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/test.h"

// A fresh directory that each test works in.
typedef struct {
    Arena arena;
    Diag diag;
    char directory[32];
    int start;  // where to go back to
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    snprintf(f->directory, sizeof f->directory, "/tmp/strata-io-XXXXXX");
    f->start = open(".", O_RDONLY | O_DIRECTORY);
    *state = f;
    return f->start < 0 || !mkdtemp(f->directory) || chdir(f->directory) != 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    int status = fchdir(f->start);
    close(f->start);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", f->directory);
    if (status == 0) status = system(command);
    arena_release(&f->arena);
    test_free(f);
    return status;
}

// Names in the directory, without "." and "..".
static int entry_count(const char *directory) {
    DIR *open_directory = opendir(directory);
    assert_non_null(open_directory);
    int count = -2;
    while (readdir(open_directory))
        count++;
    closedir(open_directory);
    return count;
}

static void assert_file(Fixture *f, const char *path, const char *text) {
    Str got;
    assert_true(io_read(&f->diag, &f->arena, str_of(path), &got));
    assert_str(got, text);
    assert_int_equal(got.ptr[got.len], 0);
}

static void what_is_written_is_read(void **state) {
    Fixture *f = *state;
    assert_false(io_exists(STR("a")));
    assert_true(io_write(&f->diag, STR("a"), "hello", 5));
    assert_true(io_exists(STR("a")));
    assert_file(f, "a", "hello");
    assert_true(io_write(&f->diag, STR("a"), NULL, 0));
    assert_file(f, "a", "");
    assert_int_equal(entry_count("."), 1);
    assert_int_equal(f->diag.item_count, 0);
}

static void large_files_go_through_the_buffer(void **state) {
    Fixture *f = *state;
    enum { PARTS = 1500, PART = 997 };
    FileWriter w;
    assert_true(io_writer_open(&f->diag, STR("big"), &w));
    unsigned char part[PART], *large = arena_array(&f->arena, unsigned char, 1 << 20);
    memset(large, 0xee, 1 << 20);
    for (int i = 0; i < PARTS; i++) {
        memset(part, i & 0xff, PART);
        assert_true(io_writer_add(&f->diag, &w, part, PART));
    }
    assert_true(io_writer_add(&f->diag, &w, large, 1 << 20));
    assert_false(io_exists(STR("big")));
    assert_true(io_writer_commit(&f->diag, &w));
    io_writer_abort(&w);
    FileMap map;
    assert_true(io_map(&f->diag, STR("big"), &map));
    assert_int_equal(map.size, PARTS * PART + (1 << 20));
    for (int i = 0; i < PARTS * PART; i++)
        assert_int_equal(map.data[i], i / PART & 0xff);
    assert_int_equal(map.data[map.size - 1], 0xee);
    io_unmap(&map);
    io_unmap(&map);
}

static void an_aborted_file_leaves_nothing(void **state) {
    Fixture *f = *state;
    assert_true(io_write(&f->diag, STR("a"), "old", 3));
    FileWriter w;
    assert_true(io_writer_open(&f->diag, STR("a"), &w));
    assert_true(io_writer_add(&f->diag, &w, "new", 3));
    io_writer_abort(&w);
    assert_file(f, "a", "old");
    assert_int_equal(entry_count("."), 1);
}

static void permissions_follow_the_umask(void **state) {
    Fixture *f = *state;
    mode_t old = umask(027);
    assert_true(io_write(&f->diag, STR("a"), "x", 1));
    umask(old);
    struct stat status;
    assert_int_equal(stat("a", &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void links_keep_pointing(void **state) {
    Fixture *f = *state;
    assert_true(io_write(&f->diag, STR("target"), "old", 3));
    assert_int_equal(symlink("target", "link"), 0);
    assert_true(io_write(&f->diag, STR("link"), "new", 3));
    assert_file(f, "target", "new");
    struct stat status;
    assert_int_equal(lstat("link", &status), 0);
    assert_true(S_ISLNK(status.st_mode));
}

static void empty_and_odd_files_are_read(void **state) {
    Fixture *f = *state;
    assert_true(io_write(&f->diag, STR("empty"), NULL, 0));
    FileMap map;
    assert_true(io_map(&f->diag, STR("empty"), &map));
    assert_int_equal(map.size, 0);
    assert_non_null(map.data);
    io_unmap(&map);
    Str text;
    assert_true(io_read(&f->diag, &f->arena, STR("/proc/self/status"), &text));
    assert_true(text.len > 0);
    assert_true(io_read(&f->diag, &f->arena, STR("/dev/null"), &text));
    assert_int_equal(text.len, 0);
}

static void what_cannot_be_read_is_named(void **state) {
    Fixture *f = *state;
    Str text;
    FileMap map;
    assert_false(io_read(&f->diag, &f->arena, STR("missing"), &text));
    assert_int_equal(f->diag.fail, FAIL_INPUT);
    assert_false(io_map(&f->diag, STR("missing"), &map));
    assert_false(io_read(&f->diag, &f->arena, STR("."), &text));
    assert_false(io_map(&f->diag, STR("."), &map));
    assert_false(io_map(&f->diag, STR("/dev/null"), &map));
    assert_false(io_read(&f->diag, &f->arena, STR(""), &text));
    assert_diag(&f->diag, "missing: error: cannot read: No such file or directory\n"
                          "missing: error: cannot read: No such file or directory\n"
                          ".: error: cannot read: Is a directory\n"
                          ".: error: cannot read: Is a directory\n"
                          "/dev/null: error: cannot read: No such device\n"
                          "strata: error: cannot read: No such file or directory\n");
}

static void what_cannot_be_written_is_named(void **state) {
    Fixture *f = *state;
    assert_int_equal(mkdir("d", 0777), 0);
    assert_true(io_write(&f->diag, STR("file"), "x", 1));
    assert_false(io_write(&f->diag, STR("no/such/file"), "x", 1));
    assert_int_equal(f->diag.fail, FAIL_ENVIRONMENT);
    assert_false(io_write(&f->diag, STR("d"), "x", 1));
    assert_false(io_write(&f->diag, STR("file/x"), "x", 1));
    assert_diag(&f->diag, "no/such/file: error: cannot write: No such file or directory\n"
                          "d: error: cannot write: Is a directory\n"
                          "file/x: error: cannot write: Not a directory\n");
    assert_int_equal(entry_count("."), 2);
}

// Runs `act` in a child, since what it does to itself (limits, identity) cannot be undone.
static void in_child(Fixture *f, void (*act)(Fixture *f)) {
    pid_t child = fork();
    if (child == 0) {
        act(f);
        // Exit handlers are skipped: the parent's buffers and leak checks are not the child's.
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// In a child cmocka's asserts would run the parent's tests on; this ends it instead.
static void child_check(bool ok, int line) {
    if (ok) return;
    fprintf(stderr, "child: check in line %d failed\n", line);
    _exit(1);
}
#define CHILD_CHECK(c) child_check((c), __LINE__)

static void write_with_a_size_limit(Fixture *f) {
    enum { LIMIT = 100 << 10 };
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {.rlim_cur = LIMIT, .rlim_max = LIMIT};
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    static unsigned char data[LIMIT * 4];
    CHILD_CHECK(!io_write(&f->diag, STR("a"), data, LIMIT + 1));
    CHILD_CHECK(!io_write(&f->diag, STR("a"), data, sizeof data));
    CHILD_CHECK(f->diag.fail == FAIL_ENVIRONMENT && f->diag.error_count == 2);
    CHILD_CHECK(str_eq(f->diag.items[1].message, STR("cannot write: File too large")));
    CHILD_CHECK(io_write(&f->diag, STR("b"), data, LIMIT));
}

static void a_full_disk_keeps_the_old_file(void **state) {
    Fixture *f = *state;
    assert_true(io_write(&f->diag, STR("a"), "old", 3));
    in_child(f, write_with_a_size_limit);
    assert_file(f, "a", "old");
    assert_int_equal(entry_count("."), 2);
}

static void devices_are_written_in_place(void **state) {
    Fixture *f = *state;
    assert_true(io_write(&f->diag, STR("/dev/null"), "x", 1));
    assert_false(io_write(&f->diag, STR("/dev/full"), "x", 1));
    assert_diag(&f->diag, "/dev/full: error: cannot write: No space left on device\n");
    struct stat status;
    assert_int_equal(stat("/dev/full", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
}

// The superuser may write everywhere, so the child becomes somebody else first.
static void write_without_rights(Fixture *f) {
    if (geteuid() == 0) CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    CHILD_CHECK(!io_write(&f->diag, STR("locked/a"), "x", 1));
    CHILD_CHECK(!io_make_directories(&f->diag, STR("locked/b/c")));
    Str text;
    CHILD_CHECK(f->diag.fail == FAIL_ENVIRONMENT && f->diag.error_count == 2);
    CHILD_CHECK(!io_read(&f->diag, &f->arena, STR("locked/secret"), &text));
    CHILD_CHECK(str_eq(f->diag.items[0].message, STR("cannot write: Permission denied")));
    CHILD_CHECK(
        str_eq(f->diag.items[1].message, STR("cannot make the directory: Permission denied")));
    CHILD_CHECK(str_eq(f->diag.items[2].message, STR("cannot read: Permission denied")));
}

static void rights_are_respected(void **state) {
    Fixture *f = *state;
    assert_int_equal(chmod(".", 0755), 0);
    assert_int_equal(mkdir("locked", 0755), 0);
    assert_true(io_write(&f->diag, STR("locked/secret"), "x", 1));
    assert_int_equal(chmod("locked/secret", 0), 0);
    assert_int_equal(chmod("locked", 0555), 0);
    in_child(f, write_without_rights);
    assert_int_equal(chmod("locked", 0755), 0);
    assert_int_equal(entry_count("locked"), 1);
}

static void directories_are_made_on_the_way(void **state) {
    Fixture *f = *state;
    assert_true(io_make_directories(&f->diag, STR("x/y/z")));
    assert_true(io_make_directories(&f->diag, STR("x/y/z/")));
    assert_true(io_make_directories(&f->diag, STR("x//w")));
    char absolute[64];
    snprintf(absolute, sizeof absolute, "%s/v/u", f->directory);
    assert_true(io_make_directories(&f->diag, str_of(absolute)));
    assert_true(io_exists(STR("x/y/z")) && io_exists(STR("x/w")) && io_exists(STR("v/u")));
    assert_true(io_write(&f->diag, STR("file"), "x", 1));
    assert_false(io_make_directories(&f->diag, STR("file/x")));
    assert_diag(&f->diag, "file: error: cannot make the directory: Not a directory\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read),
        TEST(large_files_go_through_the_buffer),
        TEST(an_aborted_file_leaves_nothing),
        TEST(permissions_follow_the_umask),
        TEST(links_keep_pointing),
        TEST(empty_and_odd_files_are_read),
        TEST(what_cannot_be_read_is_named),
        TEST(what_cannot_be_written_is_named),
        TEST(a_full_disk_keeps_the_old_file),
        TEST(devices_are_written_in_place),
        TEST(rights_are_respected),
        TEST(directories_are_made_on_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
