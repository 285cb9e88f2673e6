#include "store/evict.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/fd.h"
#include "store/blob.h"
#include "store/evict_memo.h"
#include "store/store_private.h"

#define BATCH_NAMES 512
#define OLDEST_MAX 1024
#define MEMO_SPARE 4096 /* of blobs that have gone; more of them, and it is forgotten */

struct candidate {
	int64_t used_ns;
	uint64_t size;
	struct digest digest;
};

struct evict {
	struct evict_config config;
	struct evict_memo memo;
};

/* One look at all blobs: what the cache is, and its oldest that come behind `after`. */
struct look {
	struct evict *e;
	int labels_fd; /* -1: there are none */
	int64_t now_ns;
	bool has_after;
	struct candidate after;
	struct candidate *oldest; /* a heap, the youngest on top */
	size_t n_oldest;
	bool more;	       /* there were more than OLDEST_MAX */
	uint64_t bytes, blobs; /* the cache */
	uint64_t labelled;
	uint64_t again_ns; /* until the first that is in its grace period leaves it; 0: none */
};

int evict_new(const struct evict_config *c, struct evict **ret)
{
	struct evict *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	e->config = *c;
	*ret = e;
	return 0;
}

struct evict *evict_free(struct evict *e)
{
	if (e == NULL)
		return NULL;
	evict_memo_reset(&e->memo);
	free(e);
	return NULL;
}

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static int64_t used_ns(const struct stat *st)
{
	int64_t m = ns_of(&st->st_mtim), a = ns_of(&st->st_atim);

	return a > m ? a : m;
}

/* How long it stays for having been used; 0: it may go. A date far in the future is no reason. */
static uint64_t grace_left(const struct evict *e, int64_t now, int64_t used)
{
	uint64_t apart =
		now > used ? (uint64_t)now - (uint64_t)used : (uint64_t)used - (uint64_t)now;

	return apart < e->config.grace_ns ? e->config.grace_ns - apart : 0;
}

static bool is_cache(const struct evict *e, const struct label *l)
{
	return strcmp(l->origin, LABEL_ORIGIN_FETCH) == 0 && l->n_sources > 0 &&
	       l->pin == LABEL_UNPINNED &&
	       (e->config.keeps == NULL || !e->config.keeps(e->config.arg, l));
}

/* The same of a blob, whose label is read where it has changed since. */
static bool look_at_label(struct look *k, const struct digest *d)
{
	char hex[DIGEST_HEX_LEN + 1];
	struct label l;
	struct stat st = {0};
	int known;

	digest_hex(d, hex);
	if (k->labels_fd < 0 || fstatat(k->labels_fd, hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	k->labelled++;
	known = evict_memo_get(&k->e->memo, d, &st);
	if (known < 0) {
		/* Replaced in between: the next look sees another file, and reads again. */
		known = label_read(k->e->config.store, d, &l) == 0 && is_cache(k->e, &l);
		evict_memo_put(&k->e->memo, d, &st, known != 0);
	}
	return known != 0;
}

static int compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->used_ns != y->used_ns)
		return x->used_ns < y->used_ns ? -1 : 1;
	return digest_compare(&x->digest, &y->digest);
}

static void swap(struct candidate *a, struct candidate *b)
{
	struct candidate t = *a;

	*a = *b;
	*b = t;
}

static void sift_up(struct candidate *heap, size_t i)
{
	while (i > 0 && compare(&heap[i], &heap[(i - 1) / 2]) > 0) {
		swap(&heap[i], &heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

static void sift_down(struct candidate *heap, size_t n)
{
	for (size_t i = 0, child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && compare(&heap[child + 1], &heap[child]) > 0)
			child++;
		if (compare(&heap[child], &heap[i]) <= 0)
			return;
		swap(&heap[child], &heap[i]);
	}
}

static void keep_oldest(struct look *k, const struct candidate *c)
{
	if (k->has_after && compare(c, &k->after) <= 0)
		return;
	if (k->n_oldest < OLDEST_MAX) {
		k->oldest[k->n_oldest] = *c;
		sift_up(k->oldest, k->n_oldest++);
		return;
	}
	k->more = true;
	if (compare(c, &k->oldest[0]) < 0) {
		k->oldest[0] = *c;
		sift_down(k->oldest, k->n_oldest);
	}
}

static void look_at_blob(struct look *k, const struct digest *d)
{
	struct candidate c = {.digest = *d};
	struct stat st;
	uint64_t left;

	if (blob_stat(k->e->config.store, d, &st) < 0 || !look_at_label(k, d))
		return;
	c.size = (uint64_t)st.st_size;
	c.used_ns = used_ns(&st);
	k->bytes += c.size;
	k->blobs++;
	left = grace_left(k->e, k->now_ns, c.used_ns);
	if (left == 0)
		keep_oldest(k, &c);
	else if (k->again_ns == 0 || left < k->again_ns)
		k->again_ns = left;
}

struct name {
	ino_t ino;
	struct digest digest;
};

static int by_inode(const void *a, const void *b)
{
	ino_t x = ((const struct name *)a)->ino, y = ((const struct name *)b)->ino;

	return x < y ? -1 : x > y;
}

/* In the order of inodes, since stat(2) reads a cold inode table then once, front to back. */
static int look_at_all(struct look *k)
{
	cleanup_free struct name *names = malloc(BATCH_NAMES * sizeof(*names));
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;
	size_t n = 0;

	if (names == NULL)
		return -ENOMEM;
	dir = dir_open(k->e->config.store->blobs_fd, ".");
	if (dir == NULL)
		return -errno;
	do {
		e = dir_next(dir);
		if (e == NULL && errno != 0)
			return -errno;
		if (e != NULL && (e->d_type == DT_REG || e->d_type == DT_UNKNOWN) &&
		    digest_parse_hex(e->d_name, &names[n].digest) == 0)
			names[n++].ino = e->d_ino;
		if (n < BATCH_NAMES && e != NULL)
			continue;
		qsort(names, n, sizeof(*names), by_inode);
		for (size_t i = 0; i < n; i++)
			look_at_blob(k, &names[i].digest);
		n = 0;
	} while (e != NULL);
	return 0;
}

static int look(struct look *k)
{
	struct evict_memo *memo = &k->e->memo;
	int r;

	k->n_oldest = 0;
	k->more = false;
	k->bytes = k->blobs = k->labelled = k->again_ns = 0;
	k->now_ns = clock_wall_ns();
	r = look_at_all(k);
	if (memo->n_used > k->labelled * 2 + MEMO_SPARE)
		evict_memo_reset(memo);
	qsort(k->oldest, k->n_oldest, sizeof(*k->oldest), compare);
	return r;
}

/* blob_open() has locked it for whoever has it open. */
static bool is_open(struct store *s, const char *hex)
{
	cleanup_fd int fd =
		openat(s->blobs_fd, hex, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd >= 0 && fd_is_locked(fd) == 1;
}

/*
 * Remove it, unless a last look says otherwise. Returns 1, 0 (it stays, or somebody was faster), or
 * a negative errno. Nothing is synced: what power loss brings back is a good blob.
 */
static int remove_blob(struct evict *e, const struct candidate *c)
{
	struct store *s = e->config.store;
	cleanup_fd int lock_fd = -1;
	char hex[DIGEST_HEX_LEN + 1];
	struct label l;
	struct stat st;
	int r;

	/* How large it is must be known when it is not here. */
	r = label_learn(s, &c->digest, NULL, NULL, c->size, NULL);
	if (r < 0)
		return r;
	lock_fd = label_lock(s);
	if (lock_fd < 0)
		return lock_fd;
	digest_hex(&c->digest, hex);
	if (blob_stat(s, &c->digest, &st) < 0 || label_read(s, &c->digest, &l) < 0 ||
	    !is_cache(e, &l) || l.size != (uint64_t)st.st_size ||
	    grace_left(e, clock_wall_ns(), used_ns(&st)) > 0 || is_open(s, hex))
		return 0;
	if (unlinkat(s->blobs_fd, hex, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	return 1;
}

static int evict_one(struct evict *e, const struct candidate *c, bool dry_run,
		     struct evict_result *ret)
{
	char hex[DIGEST_HEX_LEN + 1];
	int r;

	digest_hex(&c->digest, hex);
	r = dry_run ? !is_open(e->config.store, hex) : remove_blob(e, c);
	if (r <= 0)
		return r;
	ret->evicted_bytes += c->size;
	ret->evicted_blobs++;
	ret->cache_bytes -= c->size;
	ret->cache_blobs--;
	if (e->config.evicted != NULL)
		e->config.evicted(e->config.arg, &c->digest, c->size);
	return 0;
}

/* How much has to go, of a cache of that many bytes. */
static uint64_t bytes_to_free(const struct evict_goal *g, uint64_t cache_bytes)
{
	uint64_t coming = g->coming_bytes < g->limit_bytes ? g->coming_bytes : g->limit_bytes;
	uint64_t low = g->low_bytes > coming ? g->low_bytes - coming : 0;
	uint64_t n = g->at_least_bytes;

	if (cache_bytes > g->limit_bytes - coming && cache_bytes - low > n)
		n = cache_bytes - low;
	return n < cache_bytes ? n : cache_bytes;
}

static int run(struct look *k, const struct evict_goal *goal, struct evict_result *ret)
{
	uint64_t wanted;
	int r = look(k);

	ret->cache_bytes = k->bytes;
	ret->cache_blobs = k->blobs;
	if (r < 0)
		return r;
	wanted = bytes_to_free(goal, k->bytes);
	ret->again_ns = k->again_ns;
	for (;;) {
		for (size_t i = 0; i < k->n_oldest && ret->evicted_bytes < wanted && r == 0; i++)
			r = evict_one(k->e, &k->oldest[i], goal->dry_run, ret);
		ret->short_of_goal = ret->evicted_bytes < wanted;
		if (r < 0 || !ret->short_of_goal || !k->more)
			return r;
		/* The next ones: another look, since so many are not kept in memory. */
		k->after = k->oldest[k->n_oldest - 1];
		k->has_after = true;
		r = look(k);
		if (r < 0)
			return r;
	}
}

int evict_run(struct evict *e, const struct evict_goal *goal, struct evict_result *ret)
{
	cleanup_free struct candidate *oldest = malloc(OLDEST_MAX * sizeof(*oldest));
	struct store *s = e->config.store;
	cleanup_fd int labels_fd = -1;
	struct look k = {.e = e, .oldest = oldest};

	*ret = (struct evict_result){0};
	if (oldest == NULL)
		return -ENOMEM;
	if (s->rdonly && !goal->dry_run)
		return -EROFS;
	if (s->blobs_fd < 0)
		return 0;
	labels_fd = openat(s->root_fd, "labels/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (labels_fd < 0 && errno != ENOENT)
		return -errno;
	k.labels_fd = labels_fd;
	return run(&k, goal, ret);
}
