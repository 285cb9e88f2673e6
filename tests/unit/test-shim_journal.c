#include "shim/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "lib/test.h"

/* One of each kind, every field set that the kind has. */
static const struct record all[] = {
	{.kind = RECORD_BOOT, .number = 1, .id = "b00t"},
	{.kind = RECORD_CREATE,
	 .at_ns = 5,
	 .id = "c",
	 .bundle = "/with\ttab\nand %41 \xc3\xa4",
	 .runtime = "runc",
	 .no_pivot = true,
	 .terminal = true,
	 .in = "/i",
	 .out = "",
	 .err = "/e"},
	{.kind = RECORD_EXEC, .at_ns = 6, .serial = 3, .in = "", .out = "/o", .err = ""},
	{.kind = RECORD_LAUNCHED,
	 .at_ns = INT64_MAX,
	 .serial = 3,
	 .pid = 4194304,
	 .starttime = 1ULL << 40,
	 .shares_pids = true},
	{.kind = RECORD_FAILED, .at_ns = 7, .serial = 2147483647},
	{.kind = RECORD_STARTED, .at_ns = 8},
	{.kind = RECORD_PAUSED, .at_ns = 9},
	{.kind = RECORD_RESUMED, .at_ns = 10},
	{.kind = RECORD_OOM, .at_ns = 11},
	{.kind = RECORD_ENDED, .at_ns = 12, .pid = 5, .status = 9},
	{.kind = RECORD_EXIT, .at_ns = 13, .serial = 3, .status = 255, .lost = true},
	{.kind = RECORD_DELETED, .at_ns = 14, .serial = 3},
	{.kind = RECORD_NUMBER, .number = 77},
	{.kind = RECORD_EVENT, .at_ns = 15, .type = 4, .pid = 8, .status = 137, .lost = false},
	{.kind = RECORD_QUIET, .number = 1},
};
#define N_ALL (sizeof(all) / sizeof(all[0]))

TEST(what_is_written_is_read_the_same)
{
	cleanup_buf struct buf line, again, text;
	struct record r;

	buf_init(&line, 4096);
	buf_init(&again, 4096);
	buf_init(&text, 4096);
	CHECK_EQ(N_ALL, RECORD_KINDS);
	for (size_t i = 0; i < N_ALL; i++) {
		line.len = again.len = text.len = 0;
		CHECK_EQ(record_write(&all[i], &line), 0);
		CHECK_EQ(line.data[line.len - 1], '\n');
		CHECK_EQ(record_read(line.data, line.len - 1, &r, &text), 0);
		CHECK_EQ(r.kind, all[i].kind);
		CHECK_EQ(r.at_ns, all[i].at_ns);
		CHECK_EQ(r.pid, all[i].pid);
		CHECK_EQ(record_write(&r, &again), 0);
		CHECK_STR(again.data, line.data);
	}
}

TEST(strings_come_back_whatever_is_in_them)
{
	cleanup_buf struct buf line, text;
	struct record r;

	buf_init(&line, 4096);
	buf_init(&text, 4096);
	CHECK_EQ(record_write(&all[1], &line), 0);
	CHECK_EQ(record_read(line.data, line.len - 1, &r, &text), 0);
	CHECK_STR(r.bundle, all[1].bundle);
	CHECK_STR(r.out, "");
	CHECK(r.no_pivot && r.terminal);
}

TEST(lines_that_are_none_are_refused)
{
	static const char *const bad[] = {
		"",
		"?",
		"S",
		"S\t",
		"S\t1\t2",
		"S\t-1",
		"S\tx",
		"S 1",
		"S\t99999999999999999999",
		"E\t1\t4294967296\t0\t0",
		"E\t1\t2\t3\t2",
		"B\t1\tb\t",
		"B\t1\t%00",
	};
	cleanup_buf struct buf text;
	struct record r;

	buf_init(&text, 4096);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (record_read(bad[i], strlen(bad[i]), &r, &text) != -EBADMSG)
			TEST_FAIL("taken: \"%s\"", bad[i]);
}

/* ---- the file ---- */

struct dir {
	char path[32];
	int fd;
};

static void dir_done(struct dir *d)
{
	(void)close(d->fd);
	(void)fd_remove_tree(AT_FDCWD, d->path);
}

static int dir_make(struct dir *d)
{
	(void)strcpy(d->path, "/tmp/test-journal-XXXXXX");
	if (mkdtemp(d->path) == NULL)
		return -errno;
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->fd < 0 ? -errno : 0;
}

struct seen {
	size_t n;
	int64_t last_ns;
};

static void see(const struct record *r, void *ctx)
{
	struct seen *s = ctx;

	s->n++;
	s->last_ns = r->at_ns;
}

TEST(a_journal_is_read_as_far_as_it_goes_and_gone_on_with)
{
	cleanup(dir_done) struct dir d = {.fd = -1};
	struct seen seen = {0};
	struct journal j;
	int fd;

	CHECK_EQ(dir_make(&d), 0);
	CHECK_EQ(journal_open(&j, d.fd, see, &seen, NULL), 0);
	CHECK_EQ(journal_append(&j, &all[5]), 0);
	CHECK_EQ(journal_append(&j, &all[6]), 0);
	journal_close(&j);
	fd = openat(d.fd, "journal", O_WRONLY | O_APPEND | O_CLOEXEC);
	CHECK_EQ(fd_write_full(fd, "rubbish\nS\t99", 12), 0); /* the end was never written */
	(void)close(fd);

	CHECK_EQ(journal_open(&j, d.fd, see, &seen, NULL), 2);
	CHECK_EQ(seen.n, 2);
	CHECK_EQ(seen.last_ns, all[6].at_ns);
	CHECK_EQ(journal_append(&j, &all[7]), 0);
	journal_close(&j);
	seen.n = 0;
	CHECK_EQ(journal_open(&j, d.fd, see, &seen, NULL), 1); /* the end is gone */
	CHECK_EQ(seen.n, 3);
	CHECK_EQ(seen.last_ns, all[7].at_ns);
	journal_remove(&j);
	CHECK(faccessat(d.fd, "journal", F_OK, 0) < 0);
}

TEST(a_long_journal_is_replaced_whole)
{
	cleanup(dir_done) struct dir d = {.fd = -1};
	cleanup_buf struct buf lines;
	struct seen seen = {0};
	struct journal j;
	int n = 0;

	buf_init(&lines, 4096);
	CHECK_EQ(dir_make(&d), 0);
	CHECK_EQ(journal_open(&j, d.fd, see, &seen, NULL), 0);
	for (; !journal_is_long(&j) && n < 1000000; n++)
		CHECK_EQ(journal_append(&j, &all[1]), 0);
	CHECK(n > 100 && n < 1000000);
	CHECK_EQ(record_write(&all[5], &lines), 0);
	CHECK_EQ(journal_replace(&j, &lines), 0);
	CHECK(!journal_is_long(&j));
	CHECK_EQ(journal_append(&j, &all[6]), 0);
	journal_close(&j);
	CHECK_EQ(journal_open(&j, d.fd, see, &seen, NULL), 0);
	CHECK_EQ(seen.n, 2);
	journal_close(&j);
}

TEST_MAIN()
