/* /, /blobs/sha256 and requests that no kernel sends, over the wire. */
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/fuse_wire.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/ingest.h"
#include "store/store_cleanup.h"

#define STALE_BLOB ((1ULL << 40) | 77)
#define STALE_REF ((2ULL << 40) | 77)
#define NOBODY_HAS "00000000000000000000000000000000000000000000000000000000000000aa"

/* Commit text as a blob; its hex. false: it failed. */
static bool put(struct store *s, const char *text, char *hex)
{
	cleanup(ingest_closep) struct ingest *i = NULL;
	struct digest d;

	if (ingest_open(s, "put", INGEST_CREATE | INGEST_TRUNCATE, &i, NULL) < 0 ||
	    ingest_write(i, text, strlen(text), 0) < 0 || ingest_commit(i, &d, NULL) < 0)
		return false;
	digest_hex(&d, hex);
	return true;
}

TEST(the_answer_to_init_asks_for_what_the_mount_stands_on)
{
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(w.init.flags & FUSE_WRITEBACK_CACHE, 0);
	CHECK(w.init.flags & FUSE_HANDLE_KILLPRIV_V2);
	CHECK(w.init.flags & FUSE_INIT_EXT);
	CHECK(w.init.flags & FUSE_DO_READDIRPLUS);
	CHECK_EQ(w.init.flags2, 1U << (37 - 32)); /* FUSE_PASSTHROUGH */
	CHECK_EQ(w.init.unused[0], 1);		  /* max_stack_depth */
	CHECK_EQ(w.init.max_write, 1 << 20);
	/* A socket has no backing files, so that it comes to cached reads. */
	CHECK(strstr(mount_read_mode(w.mount), "cached (passthrough") != NULL);
	CHECK_EQ(wire_stop(&w), 0);
}

TEST(a_mount_that_is_hung_up_on_ends_without_an_error)
{
	TMP_STORE(t);

	for (int i = 0; i < 20; i++) {
		WIRE(w);

		CHECK_EQ(wire_start(&w, t.store, NULL), 0);
		CHECK_EQ(wire_stop(&w), 0);
	}
}

TEST(the_fixed_paths_are_there_and_nothing_beside_them)
{
	static const struct {
		uint64_t dir;
		const char *name;
		int error;
		uint64_t node;
	} rows[] = {
		{WIRE_ROOT, "blobs", 0, WIRE_BLOBS},
		{WIRE_ROOT, "ingest", 0, WIRE_INGEST},
		{WIRE_ROOT, "active", 0, WIRE_ACTIVE},
		{WIRE_BLOBS, "sha256", 0, WIRE_SHA256},
		{WIRE_ROOT, "sha256", -ENOENT, 0},
		{WIRE_ROOT, "", -ENOENT, 0},
		{WIRE_ROOT, "blobs/sha256", -ENOENT, 0},
		{WIRE_BLOBS, "sha512", -ENOENT, 0},
		{WIRE_SHA256, "blobs", -ENOENT, 0},
		{WIRE_SHA256, NOBODY_HAS, -ENOENT, 0},
		{WIRE_SHA256, NOBODY_HAS "0", -ENOENT, 0},
		{WIRE_SHA256, "../ingest", -ENOENT, 0},
		{WIRE_ACTIVE, "x", -ENOENT, 0},
		{0, "blobs", -ENOENT, 0},
		{STALE_BLOB, "x", -ENOENT, 0},
		{STALE_REF, "x", -ESTALE, 0},
		{UINT64_MAX, "x", -ENOENT, 0},
	};
	struct fuse_entry_out e = {0};
	struct fuse_attr a = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = wire_lookup(&w, rows[i].dir, rows[i].name, &e);

		if (r != rows[i].error)
			TEST_FAIL("row %zu: %d", i, r);
		if (rows[i].error == 0)
			CHECK_EQ(e.nodeid, rows[i].node);
	}
	CHECK_EQ(wire_getattr(&w, WIRE_ROOT, &a), 0);
	CHECK_EQ(a.mode, S_IFDIR | 0755);
	CHECK_EQ(wire_getattr(&w, WIRE_ACTIVE, &a), 0);
	CHECK_EQ(a.mode, S_IFREG | 0444);
	CHECK_EQ(wire_getattr(&w, STALE_BLOB, &a), -ESTALE);
	CHECK_EQ(wire_getattr(&w, STALE_REF, &a), -ESTALE);
	CHECK_EQ(wire_getattr(&w, 99, &a), -ESTALE);
	CHECK_EQ(wire_getattr(&w, UINT64_MAX, &a), -ESTALE);
}

TEST(a_blob_is_found_opened_and_read)
{
	char hex[DIGEST_HEX_LEN + 1], buf[64];
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK(put(t.store, "hello world", hex));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex, &e), 0);
	CHECK_EQ(e.attr.mode, S_IFREG | 0444);
	CHECK_EQ(e.attr.size, 11);
	CHECK_EQ(e.attr.nlink, 1);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	CHECK(o.open_flags & FOPEN_KEEP_CACHE);
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, 0, buf, sizeof(buf)), 11);
	CHECK(memcmp(buf, "hello world", 11) == 0);
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, 6, buf, 3), 3);
	CHECK(memcmp(buf, "wor", 3) == 0);
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, 11, buf, sizeof(buf)), 0);
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, 1 << 30, buf, sizeof(buf)), 0);
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, UINT64_MAX - 5, buf, sizeof(buf)), -EINVAL);
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
}

TEST(a_blob_is_never_writable)
{
	static const int flags[] = {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDONLY | O_TRUNC};
	char hex[DIGEST_HEX_LEN + 1];
	struct fuse_entry_out e, made;
	struct fuse_open_out o = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK(put(t.store, "x", hex));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex, &e), 0);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		CHECK_EQ(wire_open(&w, e.nodeid, flags[i], &o), -EROFS);
	CHECK_EQ(wire_truncate(&w, e.nodeid, UINT64_MAX, 0), -EROFS);
	CHECK_EQ(wire_write(&w, e.nodeid, 0, 0, "y", 1), -EBADF);
	CHECK_EQ(wire_create(&w, WIRE_SHA256, NOBODY_HAS, O_WRONLY, &made, &o), -EROFS);
	CHECK_EQ(wire_mknod(&w, WIRE_SHA256, NOBODY_HAS, S_IFREG | 0644, &made), -EROFS);
	CHECK_EQ(wire_mkdir(&w, WIRE_SHA256, "dir", &made), -EROFS);
	CHECK_EQ(wire_mkdir(&w, WIRE_ROOT, "dir", &made), -EROFS);
	CHECK_EQ(wire_unlink(&w, WIRE_ROOT, "active"), -EROFS);
	CHECK_EQ(wire_rmdir(&w, WIRE_BLOBS, "sha256"), -EROFS);
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "user.x", "y"), -EROFS);
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "security.x", "y"), -EOPNOTSUPP);
	CHECK_EQ(wire_setxattr(&w, WIRE_ROOT, "user.x", "y"), -EOPNOTSUPP);
	CHECK_EQ(wire_open(&w, WIRE_ACTIVE, O_WRONLY, &o), -EROFS);
}

TEST(lookups_are_counted_one_by_one_and_forgets_take_them_back)
{
	char hex[2][DIGEST_HEX_LEN + 1];
	struct fuse_entry_out e, other;
	struct fuse_attr a = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK(put(t.store, "a", hex[0]) && put(t.store, "b", hex[1]));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex[0], &e), 0);
	CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex[1], &other), 0);
	CHECK(e.nodeid != other.nodeid);
	CHECK_EQ(wire_counter(&w, "known_inodes"), 2);
	wire_forget(&w, e.nodeid, 4);
	wire_forget(&w, other.nodeid, 1);
	CHECK(wire_counter_becomes(&w, "known_inodes", 1));
	CHECK_EQ(wire_getattr(&w, e.nodeid, &a), 0);
	CHECK_EQ(wire_getattr(&w, other.nodeid, &a), -ESTALE);
	wire_forget(&w, e.nodeid, 1);
	CHECK(wire_counter_becomes(&w, "known_inodes", 0));
	CHECK_EQ(wire_getattr(&w, e.nodeid, &a), -ESTALE);
	/* What was never counted is no harm, nor is more than was counted. */
	wire_forget(&w, e.nodeid, 1);
	wire_forget(&w, STALE_BLOB, 7);
	wire_forget(&w, STALE_REF, 7);
	wire_forget(&w, WIRE_ROOT, 7);
	wire_forget(&w, UINT64_MAX, UINT64_MAX);
	CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex[0], &e), 0);
	wire_forget(&w, e.nodeid, UINT64_MAX);
	CHECK(wire_counter_becomes(&w, "known_inodes", 0));
}

TEST(a_batch_of_forgets_is_so_many_forgets)
{
	char hex[3][DIGEST_HEX_LEN + 1];
	struct fuse_forget_one some[5];
	struct fuse_entry_out e = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK(put(t.store, "a", hex[0]) && put(t.store, "b", hex[1]) && put(t.store, "c", hex[2]));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex[i], &e), 0);
		CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex[i], &e), 0);
		some[i] = (struct fuse_forget_one){.nodeid = e.nodeid, .nlookup = i < 2 ? 2 : 1};
	}
	some[3] = (struct fuse_forget_one){.nodeid = STALE_BLOB, .nlookup = 3};
	some[4] = (struct fuse_forget_one){.nodeid = WIRE_INGEST, .nlookup = 1};
	wire_batch_forget(&w, some, 5);
	CHECK(wire_counter_becomes(&w, "known_inodes", 1));
	wire_batch_forget(&w, some + 2, 1);
	CHECK(wire_counter_becomes(&w, "known_inodes", 0));
}

/* Node numbers are used again; a stale one must not reach the blob that has its number now. */
TEST(an_open_blob_reads_on_when_it_was_forgotten_and_removed)
{
	char hex[DIGEST_HEX_LEN + 1], buf[16];
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK(put(t.store, "still here", hex));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex, &e), 0);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	CHECK_EQ(wire_unlink(&w, WIRE_SHA256, hex), 0);
	CHECK_EQ(wire_unlink(&w, WIRE_SHA256, hex), -ENOENT);
	CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex, &e), -ENOENT);
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, 0, buf, sizeof(buf)), 10);
	CHECK(memcmp(buf, "still here", 10) == 0);
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
	CHECK_EQ(wire_unlink(&w, WIRE_SHA256, "no digest"), -ENOENT);
	CHECK_EQ(wire_unlink(&w, WIRE_SHA256, NOBODY_HAS), -ENOENT);
}

TEST(attributes_of_a_blob_tell_what_it_is)
{
	char hex[DIGEST_HEX_LEN + 1], text[1024], want[80];
	struct fuse_entry_out e = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK(put(t.store, "x", hex));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex, &e), 0);
	(void)snprintf(want, sizeof(want), "sha256:%s", hex);
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "user.digest", text, sizeof(text)), 71);
	CHECK_STR(text, want);
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "user.state", text, sizeof(text)), 8);
	CHECK_STR(text, "complete");
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "user.digest", text, 10), -ERANGE);
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "user.none", text, sizeof(text)), -ENODATA);
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "security.capability", text, sizeof(text)),
		 -EOPNOTSUPP);
	CHECK_EQ(wire_getxattr(&w, STALE_BLOB, "user.digest", text, sizeof(text)), -ESTALE);
	CHECK_EQ(wire_getxattr(&w, STALE_REF, "user.digest", text, sizeof(text)), -ESTALE);
	CHECK_EQ(wire_getxattr(&w, WIRE_BLOBS, "user.digest", text, sizeof(text)), -ENODATA);
	CHECK_EQ(wire_getxattr(&w, WIRE_ROOT, "user.contentfs.status", text, 20), -ERANGE);
	CHECK(wire_getxattr(&w, WIRE_ROOT, "user.contentfs.status", text, sizeof(text)) > 20);
	CHECK(strstr(text, "\nreads cached") != NULL);
}

struct name_list {
	char names[1100][DIGEST_HEX_LEN + 1];
	uint64_t next[1100]; /* the offset behind each */
	size_t n;
	struct fuse_forget_one forgets[1100];
	size_t n_forgets;
};

/* Read one buffer of entries; how many came, or a negative errno. */
static int read_some(struct wire *w, uint64_t fh, uint64_t offset, bool plus, uint32_t size,
		     struct name_list *l)
{
	char *buf = malloc(size);
	ssize_t n = wire_readdir(w, WIRE_SHA256, fh, offset, plus, buf, size);
	const struct fuse_entry_out *e = NULL;
	const struct fuse_dirent *d;
	size_t pos = 0;
	int count = 0;

	while ((d = wire_next_entry(buf, n, &pos, plus, &e)) != NULL && l->n < 1100) {
		if (plus && e->nodeid != 0)
			l->forgets[l->n_forgets++] =
				(struct fuse_forget_one){.nodeid = e->nodeid, .nlookup = 1};
		(void)snprintf(l->names[l->n], sizeof(l->names[0]), "%.*s", (int)d->namelen,
			       d->name);
		l->next[l->n++] = d->off;
		count++;
	}
	free(buf);
	return n < 0 ? (int)n : count;
}

static int read_all(struct wire *w, uint64_t fh, uint64_t offset, bool plus, uint32_t size,
		    struct name_list *l)
{
	int n;

	do {
		n = read_some(w, fh, offset, plus, size, l);
		if (n > 0)
			offset = l->next[l->n - 1];
	} while (n > 0);
	return n;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static size_t count_distinct(struct name_list *l)
{
	size_t n = l->n > 0;

	qsort(l->names, l->n, sizeof(l->names[0]), by_text);
	for (size_t i = 1; i < l->n; i++)
		n += strcmp(l->names[i - 1], l->names[i]) != 0;
	return n;
}

/* n blobs whose names are right and whose bytes are not: nobody reads them here. */
static bool put_many(struct tmp_store *t, int n)
{
	for (int i = 0; i < n; i++) {
		char path[100];

		(void)snprintf(path, sizeof(path), "blobs/sha256/%064x", i);
		if (tmp_store_put(t, path, "x") < 0)
			return false;
	}
	return true;
}

TEST(a_listing_names_every_blob_once_whatever_the_size_of_the_buffer)
{
	static const uint32_t sizes[] = {128, 300, 4096, 65536};
	static struct name_list l;
	TMP_STORE(t);
	WIRE(w);

	CHECK(put_many(&t, 1000));
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/.stray", ""), 0);
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/stray", ""), 0);
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	for (size_t i = 0; i < 8; i++) {
		bool plus = i % 2;
		uint64_t fh = 0;

		/* An entry of READDIRPLUS is 128 bytes and its name longer. */
		if (plus && sizes[i / 2] < 256)
			continue;
		l.n = l.n_forgets = 0;
		CHECK_EQ(wire_opendir(&w, WIRE_SHA256, &fh), 0);
		CHECK_EQ(read_all(&w, fh, 0, plus, sizes[i / 2], &l), 0);
		CHECK_EQ(l.n, 1002);
		CHECK_EQ(count_distinct(&l), 1002);
		/* Only what fitted was counted: each once, and dots never. */
		CHECK_EQ(l.n_forgets, plus ? 1000 : 0);
		CHECK_EQ(wire_counter(&w, "known_inodes"), plus ? 1000 : 0);
		wire_batch_forget(&w, l.forgets, (uint32_t)l.n_forgets);
		CHECK(wire_counter_becomes(&w, "known_inodes", 0));
		CHECK_EQ(wire_releasedir(&w, WIRE_SHA256, fh), 0);
	}
}

TEST(a_listing_can_be_read_again_from_any_offset_it_told)
{
	static struct name_list first, again;
	uint64_t fh = 0;
	TMP_STORE(t);
	WIRE(w);

	CHECK(put_many(&t, 700));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_opendir(&w, WIRE_SHA256, &fh), 0);
	first.n = 0;
	CHECK_EQ(read_all(&w, fh, 0, false, 2000, &first), 0);
	CHECK_EQ(first.n, 702);
	for (size_t k = 0; k < 702; k += 97) {
		again.n = 0;
		CHECK_EQ(read_all(&w, fh, first.next[k], false, 3000, &again), 0);
		CHECK_EQ(again.n, 702 - k - 1);
		for (size_t i = 0; i < again.n; i++)
			CHECK_STR(again.names[i], first.names[k + 1 + i]);
	}
	again.n = 0;
	CHECK_EQ(read_some(&w, fh, 702, false, 4096, &again), 0);
	CHECK_EQ(read_some(&w, fh, 1 << 30, false, 4096, &again), 0);
	CHECK_EQ(read_some(&w, fh, UINT64_MAX, false, 4096, &again), 0);
	CHECK_EQ(read_some(&w, fh, 0, false, 8, &again), 0); /* room for nothing */
	CHECK_EQ(wire_releasedir(&w, WIRE_SHA256, fh), 0);
}

TEST(a_listing_goes_on_when_blobs_vanish_and_come_meanwhile)
{
	static struct name_list l;
	char path[100];
	uint64_t fh = 0;
	TMP_STORE(t);
	WIRE(w);

	CHECK(put_many(&t, 900));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_opendir(&w, WIRE_SHA256, &fh), 0);
	l.n = l.n_forgets = 0;
	CHECK(read_some(&w, fh, 0, true, 4096, &l) > 0);
	for (int i = 0; i < 900; i += 2) {
		(void)snprintf(path, sizeof(path), "blobs/sha256/%064x", i);
		CHECK_EQ(unlinkat(store_root_fd(t.store), path, 0), 0);
	}
	CHECK_EQ(read_all(&w, fh, l.next[l.n - 1], true, 4096, &l), 0);
	CHECK_EQ(count_distinct(&l), l.n);
	CHECK(l.n >= 450 && l.n <= 902);
	for (int i = 1; i < 900; i += 2) { /* what was there all the time is listed */
		char want[DIGEST_HEX_LEN + 1];

		(void)snprintf(want, sizeof(want), "%064x", i);
		CHECK(bsearch(want, l.names, l.n, sizeof(l.names[0]), by_text) != NULL);
	}
	CHECK_EQ(wire_releasedir(&w, WIRE_SHA256, fh), 0);
}

TEST(directories_and_files_are_not_taken_for_each_other)
{
	char hex[DIGEST_HEX_LEN + 1];
	struct fuse_entry_out e = {0};
	uint64_t fh = 0;
	TMP_STORE(t);
	WIRE(w);

	CHECK(put(t.store, "x", hex));
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_lookup(&w, WIRE_SHA256, hex, &e), 0);
	CHECK_EQ(wire_opendir(&w, e.nodeid, &fh), -ENOTDIR);
	CHECK_EQ(wire_opendir(&w, WIRE_ACTIVE, &fh), -ENOTDIR);
	CHECK_EQ(wire_opendir(&w, STALE_REF, &fh), -ESTALE);
	CHECK_EQ(wire_opendir(&w, 0, &fh), -ENOTDIR);
}

TEST(every_request_that_is_not_ours_is_refused_and_the_next_one_served)
{
	static const struct {
		uint32_t opcode;
		int error;
	} rows[] = {
		{FUSE_LSEEK, -ENOSYS},	   {FUSE_IOCTL, -ENOSYS},
		{FUSE_POLL, -ENOSYS},	   {FUSE_BMAP, -ENOSYS},
		{FUSE_FALLOCATE, -ENOSYS}, {FUSE_GETLK, -ENOSYS},
		{FUSE_ACCESS, -ENOSYS},	   {FUSE_REMOVEXATTR, -EOPNOTSUPP},
		{FUSE_READLINK, -ENOSYS},  {7, -ENOSYS},
		{9999, -ENOSYS},	   {UINT32_MAX, -ENOSYS},
	};
	struct fuse_attr a = {0};
	char body[64] = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t q = wire_send(&w, rows[i].opcode, WIRE_ROOT, body, sizeof(body));

		CHECK_EQ(wire_nothing(&w, q), rows[i].error);
		CHECK_EQ(wire_getattr(&w, WIRE_ROOT, &a), 0);
	}
}

TEST(the_free_space_is_that_of_the_disk_below)
{
	struct fuse_statfs_out out;
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(
		wire_exactly(&w, wire_send(&w, FUSE_STATFS, WIRE_ROOT, NULL, 0), &out, sizeof(out)),
		0);
	CHECK(out.st.blocks > 0);
	CHECK_EQ(out.st.namelen, 255);
}

/* A message shorter than a header cannot be answered: the session ends, and says so. */
TEST(a_message_that_is_no_request_ends_the_session_with_an_error)
{
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(send(w.fd, "short", 5, MSG_NOSIGNAL), 5);
	(void)pthread_join(w.thread, NULL); /* by itself, before anybody hangs up */
	w.running = false;
	CHECK(wire_stop(&w) < 0);
}

TEST_MAIN()
