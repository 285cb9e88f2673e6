/* What the mount does for a store whose blobs are evicted: pins, dates, blobs that were here. */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "lib/fuse_wire.h"
#include "lib/memory_source.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/evict.h"

#define TEXT "the bytes of a blob that comes and goes"
#define HOUR_S 3600

static int lookup(struct wire *w, const struct digest *d, struct fuse_entry_out *e)
{
	char hex[DIGEST_HEX_LEN + 1];

	digest_hex(d, hex);
	return wire_lookup(w, WIRE_SHA256, hex, e);
}

/* A blob as a fetch an hour ago would have left it. */
static int put_fetched(struct tmp_store *t, const char *text, struct digest *ret)
{
	char path[DIGEST_HEX_LEN + 32] = "blobs/sha256/";
	struct timespec when[2] = {{.tv_sec = clock_wall_ns() / 1000000000 - HOUR_S}};
	int r = digest_of(text, strlen(text), ret);

	when[1] = when[0];
	digest_hex(ret, path + strlen(path));
	if (r == 0)
		r = tmp_store_put(t, path, text);
	if (r == 0)
		r = utimensat(store_root_fd(t->store), path, when, 0);
	return r == 0 ? label_learn(t->store, ret, "memory/test", NULL, 0, "fetch") : r;
}

static void tell_mount(void *arg, const struct digest *d, uint64_t size)
{
	(void)size;
	mount_evicted(arg, d);
}

static long long evict_all(struct tmp_store *t, struct wire *w)
{
	struct evict_config c = {.store = t->store, .evicted = tell_mount, .arg = w->mount};
	struct evict_goal g = {0};
	struct evict_result result = {0};
	struct evict *e = NULL;
	int r = evict_new(&c, &e);

	if (r == 0)
		r = evict_run(e, &g, &result);
	(void)evict_free(e);
	return r < 0 ? r : (long long)result.evicted_blobs;
}

TEST(an_evicted_blob_is_remote_again_and_an_open_one_stays)
{
	struct fuse_entry_out e = {0}, later = {0};
	struct fuse_open_out o = {0}, again = {0};
	char buf[128], hex[DIGEST_HEX_LEN + 1];
	struct digest d;
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	CHECK_EQ(put_fetched(&t, TEXT, &d), 0);
	digest_hex(&d, hex);
	CHECK_EQ(wire_start(&w, t.store, &src.base), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	CHECK_EQ(evict_all(&t, &w), 0); /* it is open */
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, 0, buf, sizeof(buf)), strlen(TEXT));
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
	CHECK_EQ(evict_all(&t, &w), 1);
	CHECK(!blob_exists(t.store, &d));
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), -ESTALE); /* the kernel looks it up again */
	CHECK_EQ(w.n_inval_entry, 1);
	CHECK_STR(w.inval_entry, hex);
	CHECK_EQ(lookup(&w, &d, &later), 0);
	CHECK(later.nodeid != e.nodeid);
	CHECK_EQ(later.attr.ino, e.attr.ino);
	CHECK_EQ(later.attr.size, strlen(TEXT));
	CHECK_EQ(wire_open(&w, later.nodeid, O_RDONLY, &again), 0);
	CHECK_EQ(wire_read(&w, later.nodeid, again.fh, 4, buf, 5), 5);
	CHECK(memcmp(buf, &TEXT[4], 5) == 0);
	CHECK_EQ(memory_source_count(&src, &src.n_ensures), 1);
	CHECK_EQ(wire_release(&w, later.nodeid, again.fh), 0);
}

static void count(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static int say(void *arg, struct buf *out)
{
	return buf_printf(out, "said %u\n", atomic_load((atomic_uint *)arg));
}

TEST(whoever_makes_room_is_told_when_it_may_be_needed_and_has_a_say_in_the_status)
{
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	atomic_uint told = 0;
	struct digest d;
	char buf[8];
	TMP_STORE(t);
	WIRE(w);
	MEMORY_SOURCE(src);
	struct mount_config config = {
		.grows = count, .grows_arg = &told, .more_status = say, .more_status_arg = &told};

	memory_source_add(&src, TEXT, strlen(TEXT), /* known= */ true, &d);
	config.store = t.store;
	config.source = &src.base;
	CHECK_EQ(wire_start_with(&w, &config), 0);
	CHECK_EQ(wire_counter(&w, "said"), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	CHECK_EQ(wire_counter(&w, "said"), 0);
	CHECK_EQ(wire_read(&w, e.nodeid, o.fh, 0, buf, 3), 3);
	CHECK_EQ(wire_counter(&w, "said"), 1);
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
}

static bool used_since(struct tmp_store *t, const struct digest *d, int64_t wall_s)
{
	static const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t end = clock_mono_ms() + WIRE_TIMEOUT_MS;
	struct stat st;

	while (blob_stat(t->store, d, &st) == 0 && clock_mono_ms() < end) {
		if (st.st_atim.tv_sec >= wall_s)
			return true;
		(void)nanosleep(&pause, NULL);
	}
	return false;
}

TEST(opening_a_blob_dates_its_use)
{
	int64_t begin_s = clock_wall_ns() / 1000000000;
	struct fuse_entry_out e = {0};
	struct fuse_open_out o = {0};
	struct digest d;
	struct stat st;
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(put_fetched(&t, TEXT, &d), 0);
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(blob_stat(t.store, &d, &st), 0);
	CHECK(st.st_atim.tv_sec < begin_s); /* to look is not to use */
	CHECK_EQ(wire_open(&w, e.nodeid, O_RDONLY, &o), 0);
	CHECK(used_since(&t, &d, begin_s));
	CHECK_EQ(blob_stat(t.store, &d, &st), 0);
	CHECK(st.st_mtim.tv_sec < begin_s);
	CHECK_EQ(wire_release(&w, e.nodeid, o.fh), 0);
}

static int remove_attr(struct wire *w, uint64_t node, const char *name)
{
	return wire_name(w, FUSE_REMOVEXATTR, node, name);
}

TEST(an_attribute_pins_a_blob_and_lets_it_go)
{
	struct fuse_entry_out e = {0};
	struct digest d;
	struct label l;
	char text[64];
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(put_fetched(&t, TEXT, &d), 0);
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "user.pinned", text, sizeof(text)), -ENODATA);
	CHECK_EQ(remove_attr(&w, e.nodeid, "user.pinned"), -ENODATA);
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "user.pinned", "yes"), 0);
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "user.pinned", text, sizeof(text)), 3);
	CHECK_STR(text, "yes");
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_EQ(l.pin, LABEL_PINNED);
	CHECK_EQ(evict_all(&t, &w), 0);
	CHECK_EQ(remove_attr(&w, e.nodeid, "user.pinned"), 0);
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "user.pinned", "part"), 0);
	CHECK_EQ(evict_all(&t, &w), 0);
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "user.pinned", "0"), 0);
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "user.pinned", "maybe"), -EINVAL);
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "user.other", "yes"), -EROFS);
	CHECK_EQ(remove_attr(&w, e.nodeid, "user.digest"), -EROFS);
	CHECK_EQ(remove_attr(&w, e.nodeid, "security.x"), -EOPNOTSUPP);
	CHECK_EQ(remove_attr(&w, WIRE_SHA256, "user.pinned"), -EOPNOTSUPP);
	CHECK_EQ(evict_all(&t, &w), 1);
}

TEST(only_the_owner_pins)
{
	struct fuse_entry_out e = {0};
	struct digest d;
	char text[64];
	TMP_STORE(t);
	WIRE(w);

	CHECK_EQ(put_fetched(&t, TEXT, &d), 0);
	CHECK_EQ(wire_start(&w, t.store, NULL), 0);
	CHECK_EQ(lookup(&w, &d, &e), 0);
	w.uid = getuid() + 12345;
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "user.pinned", "yes"), -EPERM);
	w.uid = getuid();
	CHECK_EQ(wire_setxattr(&w, e.nodeid, "user.pinned", "1"), 0);
	w.uid = getuid() + 12345;
	CHECK_EQ(remove_attr(&w, e.nodeid, "user.pinned"), -EPERM);
	CHECK_EQ(wire_getxattr(&w, e.nodeid, "user.pinned", text, sizeof(text)), 3);
}

TEST_MAIN()
