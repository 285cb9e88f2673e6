/*
 * Memory that runs out at every place once: a request may fail with ENOMEM, the next one is
 * served, and nothing is leaked, counted wrongly or committed that should not be.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "lib/fuse_wire.h"
#include "lib/memory_source.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/ingest.h"
#include "store/walk.h"

#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define REMOTE "somewhere else"

static atomic_int countdown = -1; /* the allocation that fails; -1: none */
static atomic_bool failed;
static __thread bool spared; /* the test's own thread, where it plays the kernel */

static bool fails_now(void)
{
	int n = atomic_load(&countdown);

	if (spared)
		return false;
	while (n >= 0 && !atomic_compare_exchange_weak(&countdown, &n, n - 1))
		;
	if (n == 0)
		atomic_store(&failed, true);
	return n == 0;
}

#define WRAP(ret, name, params, args)              \
	ret __real_##name params;                  \
	ret __wrap_##name params;                  \
	ret __wrap_##name params                   \
	{                                          \
		if (!fails_now())                  \
			return __real_##name args; \
		errno = ENOMEM;                    \
		return NULL;                       \
	}

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, (const char *s), (s))

/* The first failure of a round that was not for want of memory; 0: none. */
static int wrong;

static bool ok(ssize_t r)
{
	if (r < 0 && r != -ENOMEM && wrong == 0)
		wrong = (int)r;
	return r >= 0;
}

static void use_blob(struct wire *w, const char *hex)
{
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	char buf[256];

	if (!ok(wire_lookup(w, WIRE_SHA256, hex, &e)))
		return;
	if (ok(wire_open(w, e.nodeid, O_RDONLY, &o))) {
		(void)ok(wire_read(w, e.nodeid, o.fh, 0, buf, sizeof(buf)));
		(void)ok(wire_release(w, e.nodeid, o.fh));
	}
	(void)ok(wire_getxattr(w, e.nodeid, "user.digest", buf, sizeof(buf)));
	wire_forget(w, e.nodeid, 1);
}

static void list(struct wire *w, uint64_t dir, bool plus)
{
	char buf[4096];
	const struct fuse_entry_out *e = NULL;
	uint64_t fh = 0;
	size_t pos = 0;
	ssize_t n;

	if (!ok(wire_opendir(w, dir, &fh)))
		return;
	n = wire_readdir(w, dir, fh, 0, plus, buf, sizeof(buf));
	(void)ok(n);
	while (wire_next_entry(buf, n, &pos, plus, &e) != NULL)
		if (plus && e->nodeid != 0)
			wire_forget(w, e->nodeid, 1);
	(void)ok(wire_releasedir(w, dir, fh));
}

static void ingest(struct wire *w)
{
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};

	if (!ok(wire_create(w, WIRE_INGEST, "x@sha256:" HELLO, O_WRONLY | O_TRUNC | O_EXCL, &e,
			    &o)))
		return;
	(void)ok(wire_setxattr(w, e.nodeid, "user.expected.size", "5"));
	/* A write that failed is told again by close(), until it is made good. */
	if (ok(wire_write(w, e.nodeid, o.fh, 0, "hello", 5)))
		(void)ok(wire_flush(w, e.nodeid, o.fh));
	(void)ok(wire_release(w, e.nodeid, o.fh));
	wire_forget(w, e.nodeid, 1);
}

static void use_names(struct wire *w)
{
	struct fuse_entry_out dir = {0}, e = {0};

	if (ok(wire_mkdir(w, WIRE_INGEST, "d", &dir))) {
		if (ok(wire_mknod(w, dir.nodeid, "y", S_IFREG | 0644, &e)))
			wire_forget(w, e.nodeid, 1);
		list(w, dir.nodeid, false);
		wire_forget(w, dir.nodeid, 1);
	}
	/* What mkdir or mknod have made may be there although they failed to tell. */
	(void)wire_unlink(w, WIRE_INGEST, "d%2Fy");
	(void)wire_rmdir(w, WIRE_INGEST, "d");
}

static void read_active(struct wire *w)
{
	struct fuse_open_out o = {0};
	char buf[256];

	if (!ok(wire_open(w, WIRE_ACTIVE, O_RDONLY, &o)))
		return;
	(void)ok(wire_read(w, WIRE_ACTIVE, o.fh, 0, buf, sizeof(buf)));
	(void)ok(wire_release(w, WIRE_ACTIVE, o.fh));
}

static void tidy(struct wire *w)
{
	(void)wire_unlink(w, WIRE_INGEST, "x@sha256:" HELLO);
	(void)wire_unlink(w, WIRE_INGEST, "d%2Fy");
	(void)wire_rmdir(w, WIRE_INGEST, "d");
}

static int is_right(void *arg, const struct digest *d, const struct stat *st)
{
	struct store *s = arg;
	cleanup_buf struct buf b;

	(void)st;
	buf_init(&b, 4096);
	return blob_read(s, d, &b, NULL);
}

static int no_ingest(void *arg, const struct ingest_status *st)
{
	(void)arg;
	(void)st;
	return -EEXIST;
}

TEST(a_mount_lives_through_an_allocation_that_fails_wherever_it_is)
{
	char hex[DIGEST_HEX_LEN + 1];
	struct digest remote;
	int n, rounds = 0;
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	spared = true;
	memory_source_add(&src, REMOTE, strlen(REMOTE), /* known= */ true, &remote);
	digest_hex(&remote, hex);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	for (n = 0;; n++) {
		atomic_store(&failed, false);
		wrong = 0;
		atomic_store(&countdown, n);
		ingest(&w);
		use_names(&w);
		use_blob(&w, hex);
		list(&w, WIRE_SHA256, true);
		list(&w, WIRE_INGEST, false);
		read_active(&w);
		atomic_store(&countdown, -1);
		tidy(&w);
		if (wrong != 0)
			TEST_FAIL("allocation %d: %s", n, err_describe(-wrong));
		CHECK(wire_counter_becomes(&w, "known_inodes", 0));
		CHECK(wire_counter_becomes(&w, "known_refs", 0));
		CHECK_EQ(walk_blobs(t.store, is_right, t.store), 0);
		CHECK_EQ(ingest_walk(t.store, no_ingest, NULL), 0);
		if (!atomic_load(&failed))
			break;
		rounds++;
		(void)wire_unlink(&w, WIRE_SHA256, HELLO);
	}
	printf("# %d allocations failed\n", rounds);
	CHECK(rounds > 40);
	CHECK(tmp_store_has(&t, "blobs/sha256/" HELLO)); /* the last round went through */
	spared = false;
}

TEST(a_mount_that_cannot_be_made_says_so_and_leaves_nothing)
{
	struct mount_config config = {.passthrough = true};
	struct mount *m = NULL;
	int n, r = -ENOMEM;
	TMP_STORE(t);

	config.store = t.store;
	for (n = 0; r == -ENOMEM; n++) {
		atomic_store(&countdown, n);
		r = mount_new(&config, &m, NULL);
		atomic_store(&countdown, -1);
		CHECK(r == -ENOMEM || r == 0);
	}
	CHECK_EQ(r, 0);
	CHECK(n > 3);
	m = mount_free(m);
}

TEST_MAIN()
