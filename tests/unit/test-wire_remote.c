/* Blobs that a source has and the store has not, over the wire. */
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "lib/fuse_wire.h"
#include "lib/memory_source.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/ingest.h"
#include "store/store_cleanup.h"

#define TEXT "the bytes of a blob that is elsewhere"

static const struct timespec pause_ = {.tv_nsec = 1000000};

static bool becomes(struct memory_source *s, const unsigned int *counter, unsigned int value)
{
	uint64_t end = clock_mono_ms() + WIRE_TIMEOUT_MS;

	while (memory_source_count(s, counter) != value) {
		if (clock_mono_ms() > end)
			return false;
		(void)nanosleep(&pause_, NULL);
	}
	return true;
}

static int lookup(struct wire *w, const struct digest *d, struct fuse_entry_out *e)
{
	char hex[DIGEST_HEX_LEN + 1];

	digest_hex(d, hex);
	return wire_lookup(w, WIRE_SHA256, hex, e);
}

static uint64_t send_lookup(struct wire *w, const struct digest *d)
{
	char hex[DIGEST_HEX_LEN + 1];

	digest_hex(d, hex);
	return wire_send(w, FUSE_LOOKUP, WIRE_SHA256, hex, sizeof(hex));
}

static int commit(struct store *s, const char *text)
{
	cleanup(ingest_closep) struct ingest *i = NULL;
	struct digest d;
	int r = ingest_open(s, "commit", INGEST_CREATE, &i, NULL);

	if (r == 0)
		r = ingest_write(i, text, strlen(text), 0);
	return r == 0 ? ingest_commit(i, &d, NULL) : r;
}

TEST(what_local_state_describes_is_looked_up_without_the_network)
{
	struct fuse_entry_out e = {0};
	struct digest d;
	char text[128];
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	memory_source_hold(&src, true);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(e.attr.size, strlen(TEXT));
	CHECK_EQ(e.attr.blocks, 1); /* half of it is here */
	CHECK_EQ(e.attr.mode, S_IFREG | 0444);
	CHECK(e.entry_valid <= 1);
	CHECK_EQ(wire_getattr(&w, e.nodeid, &e.attr), 0);
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "user.state", text, sizeof(text)), 7);
	CHECK_STR(text, "partial");
	CHECK(wire_getxattr(&w, e.nodeid, "user.source", text, sizeof(text)) > 0);
	CHECK_STR(text, "memory/test");
	CHECK_EQ(memory_source_count(&src, &src.n_lookups), 0);
	CHECK_EQ(memory_source_count(&src, &src.n_ensures), 0);
}

TEST(a_digest_that_nobody_has_described_is_asked_for)
{
	struct fuse_entry_out e = {0};
	struct digest d, absent;
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ false, &d);
	CHECK_EQ(digest_of("", 0, &absent), 0);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(e.attr.size, strlen(TEXT));
	CHECK_EQ(lookup(&w, &absent, &e), -ENOENT);
	CHECK_EQ(memory_source_count(&src, &src.n_lookups), 2);
	CHECK_EQ(wire_counter(&w, "remote_lookups"), 2);
}

TEST(what_a_source_fails_with_reaches_the_reader)
{
	static const struct {
		int source, reader;
	} rows[] = {
		{-ENOENT, -ENOENT}, {-EACCES, -EACCES},	  {-ETIMEDOUT, -ETIMEDOUT},
		{-EIO, -EIO},	    {-EPROTO, -EIO},	  {-ENOMEM, -ENOMEM},
		{-EINTR, -EINTR},   {-EBADMSG, -EBADMSG}, {-ENOSPC, -ENOSPC},
	};
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	struct digest d, other;
	char buf[8];
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	memory_source_add(&src, "other", 5, /* known= */ false, &other);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fuse_entry_out unused;
		int r, q;

		memory_source_fail(&src, rows[i].source, rows[i].source);
		CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
		r = (int)wire_read(&w, e.nodeid, o.fh, 0, buf, sizeof(buf));
		CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
		q = lookup(&w, &other, &unused);
		if (r != rows[i].reader || q != rows[i].reader)
			TEST_FAIL("row %zu: read %d, lookup %d", i, r, q);
	}
	/* The next reader asks again. */
	memory_source_fail(&src, 0, 0);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, 4, buf, 5), 5);
	CHECK(memcmp(buf, "bytes", 5) == 0);
	CHECK_EQ(wire_counter(&w, "remote_errors"), 8); /* EINTR is nobody's failure */
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
}

/* As the page cache does: of a READ that failed it asks again for the page that somebody is after.
 */
TEST(what_has_just_failed_is_not_waited_for_again)
{
	struct fuse_entry_out e = {0};
	struct fuse_open_out early = {0}, late = {0};
	struct digest d;
	char buf[8];
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &early), 0);
	memory_source_fail(&src, 0, -ETIMEDOUT);
	CHECK_EQ(wire_read(&w, e.nodeid, early.fh, 0, buf, 8), -ETIMEDOUT);
	memory_source_fail(&src, 0, 0);
	CHECK_EQ(wire_read(&w, e.nodeid, early.fh, 4, buf, 4), -ETIMEDOUT);
	CHECK_EQ(memory_source_count(&src, &src.n_ensures), 1);
	/* Other bytes, and who opens it now, are another matter. */
	CHECK_EQ(wire_read(&w, e.nodeid, early.fh, 8, buf, 8), 8);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &late), 0);
	CHECK_EQ(wire_read(&w, e.nodeid, late.fh, 4, buf, 5), 5);
	CHECK(memcmp(buf, "bytes", 5) == 0);
	CHECK_EQ(memory_source_count(&src, &src.n_ensures), 3);
	CHECK_EQ(wire_release(&w, e.nodeid, early.fh), 0);
	CHECK_EQ(wire_release(&w, e.nodeid, late.fh), 0);
}

TEST(a_read_that_waits_holds_up_nobody_else)
{
	struct fuse_entry_out e, found;
	struct fuse_open_out o, active;
	uint64_t q[8];
	struct digest d;
	char buf[64];
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	memory_source_hold(&src, true);
	for (int i = 0; i < 8; i++) /* as many as there are threads */
		q[i] = wire_send_read(&w, e.nodeid, o.fh, (uint64_t)i, 4);
	CHECK(becomes(&src, &src.n_held, 8));
	CHECK_EQ(wire_lookup(&w, WIRE_ROOT, "blobs", &found), 0);
	CHECK_EQ(lookup(&w, &d, &found), 0);
	CHECK_EQ(wire_getattr(&w, e.nodeid, &e.attr), 0);
	CHECK_EQ(wire_open(&w, WIRE_ACTIVE, O_RDONLY, &active), 0);
	CHECK(wire_read(&w, WIRE_ACTIVE, active.fh, 0, buf, sizeof(buf)) > 0);
	CHECK_EQ(wire_release(&w, WIRE_ACTIVE, active.fh), 0);
	memory_source_let_go(&src);
	for (int i = 7; i >= 0; i--) {
		CHECK_EQ(wire_take(&w, q[i], buf, 0, 4), 4);
		CHECK(memcmp(buf, &TEXT[i], 4) == 0);
	}
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
}

TEST(an_interrupt_ends_the_wait_of_its_own_request_alone)
{
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	uint64_t a, b, c;
	struct digest d, unknown;
	char buf[64];
	struct wire_reply reply;
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	memory_source_add(&src, "unknown", 7, /* known= */ false, &unknown);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	memory_source_hold(&src, true);
	a = wire_send_read(&w, e.nodeid, o.fh, 0, 4);
	b = wire_send_read(&w, e.nodeid, o.fh, 4, 4);
	c = send_lookup(&w, &unknown);
	CHECK(becomes(&src, &src.n_held, 3));
	wire_interrupt(&w, a);
	CHECK_EQ(wire_receive(&w, a, &reply), -EINTR);
	wire_interrupt(&w, c);
	CHECK_EQ(wire_receive(&w, c, &reply), -EINTR);
	CHECK_EQ(wire_receive_within(&w, b, 20, &reply), -ETIME);
	CHECK_EQ(memory_source_count(&src, &src.n_cancelled), 2);
	memory_source_let_go(&src);
	CHECK_EQ(wire_take(&w, b, buf, 0, 4), 4);
	CHECK_EQ(wire_counter(&w, "remote_errors"), 0);
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
}

/* Both orders: the interrupt may come before its request, and after the answer. */
TEST(an_interrupt_that_comes_early_or_late_is_no_harm)
{
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	struct digest d;
	char buf[64];
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	for (int i = 0; i < 300; i++) {
		uint64_t next = w.unique + 2, q;
		ssize_t r;

		if (i % 2 == 0) {
			/* libfuse answers an interrupt that finds no request with EAGAIN */
			wire_interrupt(&w, next + 2);
			q = wire_send_read(&w, e.nodeid, o.fh, 0, 9);
		} else {
			q = wire_send_read(&w, e.nodeid, o.fh, 0, 9);
			wire_interrupt(&w, q);
		}
		r = wire_take(&w, q, buf, 0, 9);
		CHECK(r == 9 || r == -EINTR);
		wire_drop_kept(&w);
	}
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
}

TEST(a_blob_that_becomes_complete_gets_a_second_node_of_the_same_inode)
{
	struct fuse_entry_out before, after;
	struct fuse_open_out o, o2;
	struct digest d;
	char buf[64], hex[DIGEST_HEX_LEN + 1];
	struct fuse_attr a = {0};
	struct fuse_entry_out fe = {0};
	struct fuse_open_out fo = {0};
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	digest_hex(&d, hex);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &before), 0);
	CHECK_EQ(wire_open(&w, before.nodeid, O_RDONLY, &o), 0);
	CHECK_EQ(wire_create(&w, WIRE_INGEST, "x", O_WRONLY, &fe, &fo), 0);
	CHECK_EQ(wire_write(&w, fe.nodeid, fo.fh, 0, TEXT, (uint32_t)strlen(TEXT)), strlen(TEXT));
	CHECK_EQ(wire_flush(&w, fe.nodeid, fo.fh), 0);
	CHECK_EQ(memory_source_count(&src, &src.n_committed), 1); /* before the answer */
	for (uint64_t end = clock_mono_ms() + WIRE_TIMEOUT_MS;
	     w.n_inval_entry == 0 && clock_mono_ms() < end;)
		CHECK_EQ(wire_getattr(&w, WIRE_SHA256, &a), 0);
	CHECK_EQ(wire_release(&w, fe.nodeid, fo.fh), 0);
	CHECK_EQ(lookup(&w, &d, &after), 0);
	CHECK_EQ(w.n_inval_entry, 1);
	CHECK_STR(w.inval_entry, hex);
	CHECK(after.nodeid != before.nodeid);
	CHECK_EQ(after.attr.ino, before.attr.ino);
	CHECK_EQ(wire_open(&w, after.nodeid, O_RDONLY, &o2), 0);
	/* The old node's readers read on, from the store now. */
	memory_source_fail(&src, -EIO, -EIO);
	CHECK_EQ(wire_read(&w, before.nodeid, o.fh, 0, buf, sizeof(buf)), strlen(TEXT));
	CHECK_EQ(wire_read(&w, after.nodeid, o2.fh, 0, buf, sizeof(buf)), strlen(TEXT));
	CHECK_EQ(wire_getattr(&w, before.nodeid, &a), 0);
	CHECK_EQ(wire_release(&w, before.nodeid, o.fh), 0);
	CHECK_EQ(wire_release(&w, after.nodeid, o2.fh), 0);
	CHECK_EQ(memory_source_count(&src, &src.n_committed), 1); /* and not again */
	CHECK_EQ(wire_counter(&w, "known_inodes"), 2);
	wire_forget(&w, before.nodeid, 1);
	wire_forget(&w, after.nodeid, 1);
	CHECK(wire_counter_becomes(&w, "known_inodes", 0));
}

TEST(what_is_known_is_listed_and_told_by_active_and_cannot_be_removed)
{
	char buf[8192], hex[DIGEST_HEX_LEN + 1];
	const struct fuse_entry_out *e = NULL;
	const struct fuse_dirent *de;
	struct fuse_open_out o = {0};
	struct digest d[3];
	uint64_t fh = 0;
	size_t pos = 0, n = 0;
	ssize_t len;
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d[0]);
	memory_source_add(&src, "hidden", 6, /* known= */ false, &d[1]);
	memory_source_add(&src, "second", 6, /* known= */ true, &d[2]);
	CHECK_EQ(commit(t.store, "local"), 0);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(wire_opendir(&w, WIRE_SHA256, &fh), 0);
	len = wire_readdir(&w, WIRE_SHA256, fh, 0, true, buf, sizeof(buf));
	while ((de = wire_next_entry(buf, len, &pos, true, &e)) != NULL)
		n += de->namelen == DIGEST_HEX_LEN && e->nodeid != 0;
	CHECK_EQ(n, 3);
	CHECK_EQ(wire_counter(&w, "known_inodes"), 3);
	CHECK_EQ(wire_releasedir(&w, WIRE_SHA256, fh), 0);
	CHECK_EQ(wire_open(&w, WIRE_ACTIVE, O_RDONLY, &o), 0);
	len = wire_read(&w, WIRE_ACTIVE, o.fh, 0, buf, sizeof(buf) - 1);
	CHECK(len > 0);
	buf[len] = '\0';
	CHECK(strstr(buf, "\nfill@memory\t5 B\t10 B\t") != NULL);
	CHECK(strstr(buf, "\tfilling\n") != NULL);
	CHECK_EQ(wire_release(&w, WIRE_ACTIVE, o.fh), 0);
	digest_hex(&d[0], hex);
	CHECK_EQ(wire_unlink(&w, WIRE_SHA256, hex), -EPERM);
	digest_hex(&d[1], hex);
	CHECK_EQ(wire_unlink(&w, WIRE_SHA256, hex), -ENOENT);
}

TEST(a_mount_can_end_while_answers_are_on_their_way)
{
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	struct digest d;

	for (int i = 0; i < 10; i++) {
		TMP_STORE(t);
		WIRE(w);
		MEMORY_SOURCE(src);

		memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
		CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
		CHECK_EQ(lookup(&w, &d, &e), 0);
		CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
		memory_source_hold(&src, true);
		(void)wire_send_read(&w, e.nodeid, o.fh, 0, 4);
		(void)wire_send_read(&w, e.nodeid, o.fh, 0, 4);
		CHECK(becomes(&src, &src.n_held, 2));
		CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0); /* or nobody would free it */
		(void)shutdown(w.fd, SHUT_RDWR);
	}
}

enum { N_JOBS = 16 }; /* as many as there are threads for jobs (session.c) */
static atomic_uint n_stuck;
static sem_t go_on;

static void stuck(struct blob_source *s, const struct digest *d)
{
	(void)s;
	(void)d;
	atomic_fetch_add(&n_stuck, 1);
	(void)sem_wait(&go_on);
}

struct written {
	struct fuse_entry_out e;
	struct fuse_open_out o;
	uint64_t flush; /* the request's number; 0: it could not be written */
};

static void write_and_send_flush(struct wire *w, int i, struct written *f)
{
	struct fuse_flush_in in;
	char name[16];
	int n = snprintf(name, sizeof(name), "ref-%d", i);

	*f = (struct written){0};
	if (wire_create(w, WIRE_INGEST, name, O_WRONLY | O_TRUNC | O_EXCL, &f->e, &f->o) < 0 ||
	    wire_write(w, f->e.nodeid, f->o.fh, 0, name, (uint32_t)n) != n)
		return;
	in = (struct fuse_flush_in){.fh = f->o.fh};
	f->flush = wire_send(w, FUSE_FLUSH, f->e.nodeid, &in, sizeof(in));
}

/* The kernel has the directory locked then, which is what the jobs may be waiting for. */
TEST(a_blob_is_removed_while_every_job_waits)
{
	const uint64_t end = clock_mono_ms() + WIRE_TIMEOUT_MS;
	struct blob_source_ops ops;
	struct written files[N_JOBS];
	struct digest d;
	char hex[DIGEST_HEX_LEN + 1];
	int unlinked;
	TMP_STORE(t);
	MEMORY_SOURCE(src);
	WIRE(w);

	CHECK_EQ(sem_init(&go_on, 0, 0), 0);
	ops = *src.base.ops;
	ops.committed = stuck;
	src.base.ops = &ops;
	CHECK_EQ(digest_of(TEXT, strlen(TEXT), &d), 0);
	CHECK_EQ(commit(t.store, TEXT), 0);
	digest_hex(&d, hex);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	for (int i = 0; i < N_JOBS; i++)
		write_and_send_flush(&w, i, &files[i]);
	while (atomic_load(&n_stuck) < N_JOBS && clock_mono_ms() < end)
		(void)nanosleep(&pause_, NULL);
	unlinked = wire_unlink(&w, WIRE_SHA256, hex);
	for (int i = 0; i < N_JOBS; i++)
		(void)sem_post(&go_on);
	CHECK_EQ(atomic_load(&n_stuck) >= N_JOBS, true);
	CHECK_EQ(unlinked, 0);
	for (int i = 0; i < N_JOBS; i++) {
		CHECK_EQ(wire_nothing(&w, files[i].flush), 0);
		CHECK_EQ(wire_release(&w, files[i].e.nodeid, files[i].o.fh), 0);
	}
	CHECK_EQ(wire_stop(&w), 0);
}

TEST_MAIN()
