/* /ingest and /active over the wire: what commits when, and what each request is told. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/fuse_wire.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/ingest.h"
#include "store/store_cleanup.h"

#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define WRONG "00000000000000000000000000000000000000000000000000000000000000ff"
#define NEW (O_WRONLY | O_TRUNC | O_EXCL) /* as a shell's ">" and cp open what is not there */

int __real_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st);
int __wrap_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st);

/* Pretend that this process has a descriptor of the file with that inode number. */
static _Atomic uint64_t held_ino;

int __wrap_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st)
{
	int r = __real_statx(fd, path, flags, mask, st);

	if (r == 0 && held_ino != 0)
		st->stx_ino = held_ino;
	return r;
}

struct file {
	struct fuse_entry_out e;
	struct fuse_open_out o;
};

static int create(struct wire *w, const char *name, int flags, struct file *f)
{
	return wire_create(w, WIRE_INGEST, name, flags, &f->e, &f->o);
}

static ssize_t put(struct wire *w, const struct file *f, const char *text, uint64_t offset)
{
	return wire_write(w, f->e.nodeid, f->o.fh, offset, text, (uint32_t)strlen(text));
}

static int flush(struct wire *w, const struct file *f)
{
	return wire_flush(w, f->e.nodeid, f->o.fh);
}

static int release(struct wire *w, const struct file *f)
{
	return wire_release(w, f->e.nodeid, f->o.fh);
}

/* Whether a lookup of name finds something; the lookup is forgotten again. */
static bool is_there(struct wire *w, uint64_t dir, const char *name)
{
	struct fuse_entry_out e = {0};
	int r = wire_lookup(w, dir, name, &e);

	if (r == 0)
		wire_forget(w, e.nodeid, 1);
	return r == 0;
}

static bool has_blob(struct tmp_store *t, const char *hex)
{
	struct digest d;

	return digest_parse_hex(hex, &d) == 0 && blob_exists(t->store, &d);
}

/* What /active says, one line for each ingest behind the header. */
static ssize_t read_active(struct wire *w, char *text, uint32_t n)
{
	struct fuse_open_out o = {0};
	int r = wire_open(w, WIRE_ACTIVE, O_RDONLY, &o);
	ssize_t got;

	if (r < 0)
		return r;
	got = wire_read(w, WIRE_ACTIVE, o.fh, 0, text, n - 1);
	if (got >= 0)
		text[got] = '\0';
	r = wire_release(w, WIRE_ACTIVE, o.fh);
	return r < 0 ? r : got;
}

TEST(flush_commits_and_gives_the_verdict)
{
	struct file f = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", NEW, &f), 0);
	CHECK_EQ(f.e.attr.mode, S_IFREG | 0600);
	CHECK_EQ(f.e.entry_valid, 0);
	CHECK(f.o.open_flags & FOPEN_DIRECT_IO);
	CHECK_EQ(put(&w, &f, "hel", 0), 3);
	CHECK_EQ(put(&w, &f, "lo", 3), 2);
	CHECK(is_there(&w, WIRE_INGEST, "x"));
	CHECK(!is_there(&w, WIRE_SHA256, HELLO));
	CHECK_EQ(flush(&w, &f), 0);
	/* The very next lookup finds the blob and no longer the ref. */
	CHECK(is_there(&w, WIRE_SHA256, HELLO));
	CHECK(!is_there(&w, WIRE_INGEST, "x"));
	CHECK_EQ(release(&w, &f), 0);
	CHECK_EQ(wire_counter(&w, "commits"), 1);
	wire_forget(&w, f.e.nodeid, 1);
	CHECK(wire_counter_becomes(&w, "known_refs", 0));
}

TEST(a_wrong_digest_is_the_verdict_of_each_flush_until_more_is_written)
{
	struct file f = {0};
	char text[256];
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x@sha256:" HELLO, NEW, &f), 0);
	CHECK_EQ(put(&w, &f, "hel", 0), 3);
	CHECK_EQ(flush(&w, &f), -EBADMSG);
	CHECK_EQ(flush(&w, &f), -EBADMSG);
	CHECK(wire_getxattr(&w, f.e.nodeid, "user.error", text, sizeof(text)) > 0);
	CHECK(strstr(text, "unexpected digest: sha256:") == text);
	CHECK_EQ(put(&w, &f, "lo", 3), 2);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(has_blob(&t, HELLO));
	CHECK_EQ(wire_counter(&w, "commits"), 1);
	CHECK_EQ(wire_counter(&w, "commit_failures"), 2);
}

TEST(release_after_a_verdict_changes_nothing)
{
	struct file f = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x@sha256:" WRONG, NEW, &f), 0);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK_EQ(flush(&w, &f), -EBADMSG);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(!has_blob(&t, HELLO));
	CHECK_EQ(wire_counter(&w, "commit_failures"), 1);
	/* The bytes of a mismatch are not resumed from. */
	CHECK_EQ(wire_lookup(&w, WIRE_INGEST, "x@sha256:" WRONG, &f.e), 0);
	CHECK_EQ(f.e.attr.size, 5);
	CHECK_EQ(wire_open(&w, f.e.nodeid, O_WRONLY | O_APPEND, &f.o), 0);
	CHECK_EQ(wire_getattr(&w, f.e.nodeid, &f.e.attr), 0);
	CHECK_EQ(f.e.attr.size, 0);
	CHECK_EQ(release(&w, &f), 0);
}

TEST(release_commits_what_no_flush_did)
{
	struct file f = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", NEW, &f), 0);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(has_blob(&t, HELLO));
	CHECK_EQ(create(&w, "empty", NEW, &f), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(has_blob(&t, EMPTY));
}

TEST(a_flush_of_a_descriptor_that_has_a_twin_is_no_verdict)
{
	struct file f = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x@sha256:" HELLO, NEW, &f), 0);
	CHECK_EQ(put(&w, &f, "hel", 0), 3);
	held_ino = f.e.attr.ino;
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK(is_there(&w, WIRE_INGEST, "x@sha256:" HELLO));
	CHECK_EQ(put(&w, &f, "lo", 3), 2);
	held_ino = 0;
	CHECK_EQ(flush(&w, &f), 0);
	CHECK(is_there(&w, WIRE_SHA256, HELLO));
	CHECK_EQ(wire_counter(&w, "commits"), 1);
	CHECK_EQ(wire_counter(&w, "commit_failures"), 0);
	CHECK_EQ(release(&w, &f), 0);
}

TEST(data_after_a_commit_goes_on_in_a_copy)
{
	struct file f = {0};
	char text[32];
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", O_RDWR | O_TRUNC | O_EXCL, &f), 0);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(put(&w, &f, " world", 5), 6);
	CHECK_EQ(wire_read(&w, f.e.nodeid, f.o.fh, 0, text, sizeof(text)), 11);
	CHECK(memcmp(text, "hello world", 11) == 0);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK(is_there(&w, WIRE_SHA256, HELLO));
	CHECK(is_there(&w, WIRE_SHA256,
		       "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"));
	CHECK_EQ(wire_truncate(&w, f.e.nodeid, f.o.fh, 0), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(has_blob(&t, EMPTY));
}

TEST(a_flush_from_a_process_that_was_killed_keeps_the_bytes_for_a_resume)
{
	siginfo_t info;
	struct file f = {0};
	pid_t child;
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", NEW, &f), 0);
	CHECK_EQ(put(&w, &f, "hel", 0), 3);
	child = fork();
	if (child == 0) {
		(void)raise(SIGKILL);
		_exit(1);
	}
	CHECK_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0); /* it stays a zombie */
	w.pid = (uint32_t)child;
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK_EQ(waitpid(child, NULL, 0), child);
	w.pid = (uint32_t)getpid();
	CHECK_EQ(wire_counter(&w, "commits"), 0);
	CHECK_EQ(wire_open(&w, f.e.nodeid, O_WRONLY | O_APPEND, &f.o), 0);
	CHECK_EQ(put(&w, &f, "lo", 3), 2);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(has_blob(&t, HELLO));
}

TEST(one_writer_at_a_time)
{
	struct file f, other;
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "a%2Fx", NEW, &f), 0);
	CHECK_EQ(create(&w, "a%2fx", O_WRONLY, &other), -EBUSY); /* the same ref */
	CHECK_EQ(wire_open(&w, f.e.nodeid, O_WRONLY | O_APPEND, &other.o), -EBUSY);
	CHECK_EQ(wire_truncate(&w, f.e.nodeid, UINT64_MAX, 0), -EBUSY);
	CHECK_EQ(create(&w, "x", NEW, &other), 0);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK_EQ(create(&w, "a%2Fx", NEW, &f), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK_EQ(release(&w, &other), 0);
}

/* The kernel sends RELEASE some time after the last close() has returned. */
TEST(an_open_waits_for_the_release_of_a_file_that_was_closed)
{
	struct fuse_open_in in = {.flags = O_WRONLY | O_APPEND};
	struct fuse_release_in out = {0};
	struct wire_reply a;
	struct file f = {0};
	uint64_t q;
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", O_WRONLY, &f), 0); /* touched: it stays */
	CHECK_EQ(flush(&w, &f), 0);
	q = wire_send(&w, FUSE_OPEN, f.e.nodeid, &in, sizeof(in));
	CHECK_EQ(wire_receive_within(&w, q, 50, &a), -ETIME);
	out.fh = f.o.fh;
	CHECK_EQ(wire_nothing(&w, wire_send(&w, FUSE_RELEASE, f.e.nodeid, &out, sizeof(out))), 0);
	CHECK_EQ(wire_exactly(&w, q, &f.o, sizeof(f.o)), 0);
	CHECK_EQ(release(&w, &f), 0);
}

TEST(what_nobody_has_verified_is_read_by_its_writer_alone)
{
	struct fuse_open_out o;
	struct file f = {0}, none;
	char text[8];
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", O_RDWR, &f), 0);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK_EQ(wire_read(&w, f.e.nodeid, f.o.fh, 1, text, 3), 3);
	CHECK(memcmp(text, "ell", 3) == 0);
	CHECK_EQ(wire_open(&w, f.e.nodeid, O_RDONLY, &o), -EACCES);
	CHECK_EQ(create(&w, "y", O_RDONLY, &none), -EACCES);
	CHECK_EQ(release(&w, &f), 0);
}

TEST(unlink_aborts_also_under_the_writer)
{
	struct file f, fresh;
	char text[8];
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", NEW, &f), 0);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK_EQ(wire_unlink(&w, WIRE_INGEST, "x"), 0);
	CHECK_EQ(wire_unlink(&w, WIRE_INGEST, "x"), -ENOENT);
	/* The name is free at once, whoever has the old file open. */
	CHECK_EQ(create(&w, "x", NEW, &fresh), 0);
	CHECK_EQ(put(&w, &f, "!", 5), -ECANCELED);
	CHECK_EQ(wire_read(&w, f.e.nodeid, f.o.fh, 0, text, 5), -ECANCELED);
	CHECK_EQ(wire_fsync(&w, f.e.nodeid, f.o.fh), -ECANCELED);
	CHECK_EQ(wire_truncate(&w, f.e.nodeid, f.o.fh, 0), -ECANCELED);
	CHECK_EQ(flush(&w, &f), -ECANCELED);
	CHECK_EQ(release(&w, &f), 0);
	CHECK_EQ(create(&w, "x", NEW, &f), -EBUSY); /* the new writer's */
	CHECK(!has_blob(&t, HELLO));
	CHECK_EQ(wire_counter(&w, "commits"), 0);
	CHECK_EQ(put(&w, &fresh, "hello", 0), 5);
	CHECK_EQ(flush(&w, &fresh), 0);
	CHECK_EQ(release(&w, &fresh), 0);
	CHECK(has_blob(&t, HELLO));
	wire_forget(&w, fresh.e.nodeid, 2);
	CHECK(wire_counter_becomes(&w, "known_refs", 0));
}

TEST(expectations_are_set_by_attributes_and_read_back)
{
	static const struct {
		const char *name, *value;
		int error;
	} rows[] = {
		{"user.expected.digest", "sha256:" HELLO, 0},
		{"user.expected.size", "5", 0},
		{"user.expected.digest", "sha512:" HELLO, -EOPNOTSUPP},
		{"user.expected.digest", HELLO, -EINVAL},
		{"user.expected.digest", "", -EINVAL},
		{"user.expected.size", "-5", -EINVAL},
		{"user.expected.size", "", -EINVAL},
		{"user.expected.size", "99999999999999999999999", -EINVAL},
		{"user.other", "x", -EOPNOTSUPP},
		{"security.selinux", "x", -EOPNOTSUPP},
	};
	char text[256], huge[600];
	struct file f = {0};
	TMP_STORE(t);
	WIRE(w);

	memset(huge, '1', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", NEW, &f), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = wire_setxattr(&w, f.e.nodeid, rows[i].name, rows[i].value);

		if (r != rows[i].error)
			TEST_FAIL("row %zu: %d", i, r);
	}
	CHECK_EQ(wire_setxattr(&w, f.e.nodeid, "user.expected.size", huge), -EINVAL);
	CHECK_EQ(wire_setxattr(&w, (2ULL << 40) | 4711, "user.expected.size", "1"), -ESTALE);
	CHECK_EQ(wire_getxattr(&w, f.e.nodeid, "user.expected.size", text, sizeof(text)), 1);
	CHECK_STR(text, "5");
	CHECK_EQ(wire_getxattr(&w, f.e.nodeid, "user.ref", text, sizeof(text)), 1);
	CHECK_EQ(put(&w, &f, "hell", 0), 4);
	CHECK_EQ(flush(&w, &f), -EBADMSG); /* too short */
	CHECK_EQ(put(&w, &f, "o", 4), 1);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(wire_setxattr(&w, f.e.nodeid, "user.expected.size", "6"), -EROFS);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(has_blob(&t, HELLO));
}

TEST(names_that_the_kernel_would_not_send_do_no_harm)
{
	char huge[5000];
	struct file f = {0};
	struct fuse_entry_out e = {0};
	TMP_STORE(t);
	WIRE(w);

	memset(huge, 'n', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "", NEW, &f), -EINVAL);
	CHECK_EQ(wire_lookup(&w, WIRE_INGEST, "", &e), -EINVAL);
	CHECK_EQ(wire_mkdir(&w, WIRE_INGEST, "", &e), -EINVAL);
	CHECK_EQ(create(&w, huge, NEW, &f), -ENAMETOOLONG);
	CHECK_EQ(wire_lookup(&w, WIRE_INGEST, huge, &e), -ENAMETOOLONG);
	CHECK_EQ(wire_unlink(&w, WIRE_INGEST, huge), -ENAMETOOLONG);
	/* "a/b" is a ref like "a%2Fb"; "../x" names no file outside. */
	CHECK_EQ(create(&w, "a/b", NEW, &f), 0);
	CHECK(is_there(&w, WIRE_INGEST, "a%2Fb"));
	CHECK_EQ(release(&w, &f), 0);
	CHECK_EQ(create(&w, "../../x", NEW, &f), 0);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(has_blob(&t, HELLO));
	CHECK(!tmp_store_has(&t, "x") && !tmp_store_has(&t, "../x"));
	/* A NUL ends a name. */
	CHECK_EQ(
		wire_exactly(&w, wire_send(&w, FUSE_LOOKUP, WIRE_INGEST, "a\0b", 4), &e, sizeof(e)),
		-ENOENT);
}

TEST(offsets_and_sizes_beyond_a_file_are_refused)
{
	struct file f = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", NEW, &f), 0);
	CHECK_EQ(put(&w, &f, "x", INT64_MAX), -EBADMSG); /* EFBIG, which is what sizes fail with */
	CHECK_EQ(put(&w, &f, "x", UINT64_MAX), -EBADMSG);
	CHECK_EQ(wire_truncate(&w, f.e.nodeid, f.o.fh, UINT64_MAX), -EBADMSG);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK_EQ(wire_truncate(&w, f.e.nodeid, f.o.fh, 1 << 20), 0);
	CHECK_EQ(wire_truncate(&w, f.e.nodeid, f.o.fh, 5), 0);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(has_blob(&t, HELLO));
}

TEST(directories_are_made_listed_and_removed)
{
	struct fuse_entry_out a, b, again;
	struct file f = {0};
	uint64_t fh = 0;
	char buf[4096];
	size_t pos = 0;
	ssize_t n;
	const struct fuse_dirent *d;
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_mkdir(&w, WIRE_INGEST, "a", &a), 0);
	CHECK_EQ(a.attr.mode & S_IFMT, S_IFDIR);
	CHECK_EQ(wire_mkdir(&w, WIRE_INGEST, "a", &again), -EEXIST);
	CHECK_EQ(wire_mkdir(&w, a.nodeid, "b", &b), 0);
	CHECK_EQ(wire_create(&w, b.nodeid, "x", O_WRONLY, &f.e, &f.o), 0);
	CHECK(is_there(&w, WIRE_INGEST, "a%2Fb%2Fx"));
	CHECK_EQ(wire_mkdir(&w, f.e.nodeid, "below a file", &again), -ENOTDIR);
	CHECK_EQ(wire_rmdir(&w, WIRE_INGEST, "a"), -ENOTEMPTY);
	CHECK_EQ(wire_rmdir(&w, a.nodeid, "b"), -ENOTEMPTY);
	CHECK_EQ(wire_opendir(&w, b.nodeid, &fh), 0);
	n = wire_readdir(&w, b.nodeid, fh, 2, false, buf, sizeof(buf)); /* behind the dots */
	d = wire_next_entry(buf, n, &pos, false, NULL);
	CHECK(d != NULL && d->namelen == 1 && d->name[0] == 'x');
	CHECK_EQ(d->ino, f.e.attr.ino);
	CHECK(wire_next_entry(buf, n, &pos, false, NULL) == NULL);
	CHECK_EQ(wire_releasedir(&w, b.nodeid, fh), 0);
	CHECK_EQ(flush(&w, &f), 0);
	CHECK_EQ(release(&w, &f), 0);
	CHECK_EQ(wire_unlink(&w, b.nodeid, "x"), 0);
	CHECK_EQ(wire_rmdir(&w, a.nodeid, "b"), 0);
	CHECK_EQ(wire_rmdir(&w, WIRE_INGEST, "a"), 0);
	CHECK_EQ(wire_rmdir(&w, WIRE_INGEST, "a"), -ENOENT);
	wire_forget(&w, a.nodeid, 1);
	wire_forget(&w, b.nodeid, 1);
	wire_forget(&w, f.e.nodeid, 1);
	CHECK(wire_counter_becomes(&w, "known_refs", 0));
}

TEST(a_listing_of_refs_can_be_read_in_pieces_and_again)
{
	struct file f = {0};
	char name[16], buf[64];
	uint64_t fh = 0, offset = 0, second = 0;
	size_t n = 0;
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	for (int i = 0; i < 50; i++) {
		(void)snprintf(name, sizeof(name), "ref%d", i);
		CHECK_EQ(create(&w, name, O_WRONLY, &f), 0);
		CHECK_EQ(release(&w, &f), 0);
		wire_forget(&w, f.e.nodeid, 1);
	}
	CHECK_EQ(wire_opendir(&w, WIRE_INGEST, &fh), 0);
	for (;;) {
		size_t pos = 0;
		ssize_t r = wire_readdir(&w, WIRE_INGEST, fh, offset, false, buf, sizeof(buf));
		const struct fuse_dirent *d = wire_next_entry(buf, r, &pos, false, NULL);

		CHECK(r >= 0);
		if (d == NULL)
			break;
		for (; d != NULL; n++) {
			offset = d->off;
			d = wire_next_entry(buf, r, &pos, false, NULL);
		}
		if (second == 0)
			second = offset;
		if (n == 20) /* it has gone when its turn comes, or is told all the same */
			CHECK_EQ(wire_unlink(&w, WIRE_INGEST, "ref49"), 0);
	}
	CHECK_EQ(n, 52);
	CHECK(wire_readdir(&w, WIRE_INGEST, fh, second, true, buf, sizeof(buf)) >= 0);
	CHECK_EQ(wire_readdir(&w, WIRE_INGEST, fh, UINT64_MAX, true, buf, sizeof(buf)), 0);
	CHECK_EQ(wire_releasedir(&w, WIRE_INGEST, fh), 0);
	CHECK(wire_counter_becomes(&w, "known_refs", 0));
}

TEST(active_tells_the_state_at_each_open)
{
	char text[1024];
	struct file f = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK(read_active(&w, text, sizeof(text)) > 0);
	CHECK_STR(text, "REF\tSIZE\tTOTAL\tAGE\tSTATE\n");
	CHECK_EQ(create(&w, "one", O_WRONLY, &f), 0);
	CHECK_EQ(wire_setxattr(&w, f.e.nodeid, "user.expected.size", "5000"), 0);
	CHECK_EQ(put(&w, &f, "hello", 0), 5);
	CHECK(read_active(&w, text, sizeof(text)) > 0);
	CHECK(strstr(text, "\none\t5 B\t5 kB\tLess than a second\twriting\n") != NULL);
	CHECK_EQ(flush(&w, &f), -EBADMSG);
	CHECK_EQ(release(&w, &f), 0);
	CHECK(read_active(&w, text, sizeof(text)) > 0);
	CHECK(strstr(text, "\tfailed: failed size verification: 5 != 5000\n") != NULL);
	CHECK_EQ(wire_unlink(&w, WIRE_INGEST, "one"), 0);
	CHECK(read_active(&w, text, sizeof(text)) > 0);
	CHECK_STR(text, "REF\tSIZE\tTOTAL\tAGE\tSTATE\n");
}

TEST(a_read_only_mount_takes_nothing)
{
	struct fuse_entry_out e = {0};
	struct file f = {0};
	TMP_STORE(t);
	WIRE(w);

	t.store = store_close(t.store);
	{
		char root[sizeof(t.dir) + 8];

		(void)snprintf(root, sizeof(root), "%s/root", t.dir);
		CHECK_EQ(store_open(root, STORE_RDONLY, &t.store, NULL), 0);
	}
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(create(&w, "x", NEW, &f), -EROFS);
	CHECK_EQ(wire_mknod(&w, WIRE_INGEST, "x", S_IFREG | 0644, &e), -EROFS);
	CHECK_EQ(wire_unlink(&w, WIRE_SHA256, HELLO), -EROFS);
	CHECK_EQ(wire_unlink(&w, WIRE_INGEST, "x"), -EROFS);
}

TEST(mknod_begins_an_idle_ingest_and_nothing_else_can_be_made)
{
	struct fuse_entry_out e = {0};
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(wire_mknod(&w, WIRE_INGEST, "x", S_IFREG | 0644, &e), 0);
	CHECK_EQ(wire_mknod(&w, WIRE_INGEST, "x", S_IFREG | 0644, &e), -EEXIST);
	CHECK_EQ(wire_mknod(&w, WIRE_INGEST, "y", S_IFIFO | 0644, &e), -EPERM);
	CHECK_EQ(wire_mknod(&w, WIRE_INGEST, "y", S_IFCHR | 0644, &e), -EPERM);
	CHECK_EQ(wire_truncate(&w, e.nodeid, UINT64_MAX, 100), 0);
	CHECK_EQ(wire_getattr(&w, e.nodeid, &e.attr), 0);
	CHECK_EQ(e.attr.size, 100);
	CHECK_EQ(wire_unlink(&w, WIRE_INGEST, "x"), 0);
	CHECK_EQ(wire_getattr(&w, e.nodeid, &e.attr), -ENOENT);
}

TEST_MAIN()
