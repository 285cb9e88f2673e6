/*
 * The stages, each on a thread of its own, with feeds between them:
 *
 *   source -> packed feed -> decoder -> plain feed -> layer_apply (the caller's thread)
 *                    |                         |
 *                    +-> SHA-256: digest       +-> SHA-256: diff_id
 *
 * Of a layer that is not packed, the packed feed is the plain one too, and is hashed once.
 */
#include "unpack/unpack.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "unpack/decoder.h"
#include "unpack/feed.h"
#include "unpack/layer.h"
#include "unpack/omissions.h"

#define N_BUFFERS 12 /* in each feed: 3 MiB */
#define DEFAULT_WINDOW ((size_t)32 << 20)

enum { READER_MAIN, READER_HASH, N_READERS };

struct hash_stage {
	struct feed *feed;
	struct hasher *hasher;
	uint64_t size;
};

struct unpacking {
	const struct unpack_source *src;
	struct unpack_options options;
	struct omissions omissions;
	struct feed *packed, *plain; /* plain: NULL when the layer is not packed */
	struct hash_stage hash_packed, hash_plain;
	struct bytes packed_bytes; /* what the decoder, or else the layer, reads */
	struct decoder *decoder;
	uint64_t n_plain; /* bytes that the decoder gave */
	pthread_t threads[4];
	unsigned int n_threads;
};

static void *read_source(void *arg)
{
	struct unpacking *u = arg;
	struct err err = {0};
	ssize_t n = 0;
	uint8_t *p;

	while ((p = feed_reserve(u->packed)) != NULL) {
		n = u->src->read(u->src->arg, p, FEED_BYTES, &err);
		if (n <= 0)
			break;
		feed_push(u->packed, (size_t)n);
	}
	if (n < 0 && err.code == 0)
		(void)err_errno(&err, (int)-n, "read the layer");
	feed_end(u->packed, n < 0 ? (int)n : 0, &err);
	return NULL;
}

static void *hash(void *arg)
{
	struct hash_stage *h = arg;
	const uint8_t *p;
	ssize_t n;

	while ((n = feed_next(h->feed, READER_HASH, &p, NULL)) > 0) {
		hasher_update(h->hasher, p, (size_t)n);
		h->size += (uint64_t)n;
	}
	return NULL;
}

static int too_big(const struct unpacking *u, struct err *err)
{
	return err_set(err, E2BIG, "unpacks to more than the limit of %llu bytes",
		       (unsigned long long)u->options.max_bytes);
}

static void *decode(void *arg)
{
	struct unpacking *u = arg;
	struct err err = {0};
	ssize_t n = 0;
	uint8_t *p;

	while ((p = feed_reserve(u->plain)) != NULL) {
		n = decoder_read(u->decoder, p, FEED_BYTES, &err);
		if (n <= 0)
			break;
		u->n_plain += (uint64_t)n;
		if (u->options.max_bytes > 0 && u->n_plain > u->options.max_bytes) {
			n = too_big(u, &err);
			break;
		}
		feed_push(u->plain, (size_t)n);
	}
	feed_end(u->plain, n < 0 ? (int)n : 0, &err);
	return NULL;
}

static ssize_t next_packed(void *arg, const uint8_t **ret, struct err *err)
{
	return feed_next(((struct unpacking *)arg)->packed, READER_MAIN, ret, err);
}

static ssize_t next_plain(void *arg, const uint8_t **ret, struct err *err)
{
	return feed_next(((struct unpacking *)arg)->plain, READER_MAIN, ret, err);
}

/* The layer is not packed: what the decoder passes through, less the copying. */
static ssize_t next_unpacked(void *arg, const uint8_t **ret, struct err *err)
{
	struct unpacking *u = arg;
	ssize_t n = decoder_next(u->decoder, ret, err);

	if (n <= 0)
		return n;
	u->n_plain += (uint64_t)n;
	if (u->options.max_bytes > 0 && u->n_plain > u->options.max_bytes)
		return too_big(u, err);
	return n;
}

/* Signals are for the threads that knew of them before us. */
static int start(struct unpacking *u, void *(*run)(void *arg), void *arg, struct err *err)
{
	sigset_t all, old;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&u->threads[u->n_threads], NULL, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return err_errno(err, r, "start a thread");
	u->n_threads++;
	return 0;
}

static int start_hash(struct unpacking *u, struct hash_stage *h, struct feed *feed, struct err *err)
{
	int r = hasher_new(&h->hasher);

	if (r < 0)
		return err_set(err, -r, "out of memory");
	h->feed = feed;
	return start(u, hash, h, err);
}

static int start_packed(struct unpacking *u, struct err *err)
{
	int r = feed_new(N_READERS, N_BUFFERS, &u->packed);

	if (r < 0)
		return err_set(err, -r, "out of memory");
	r = start(u, read_source, u, err);
	if (r == 0)
		r = start_hash(u, &u->hash_packed, u->packed, err);
	if (r < 0)
		return r;
	bytes_init(&u->packed_bytes, next_packed, u);
	return decoder_new(&u->packed_bytes, u->options.max_window, &u->decoder, err);
}

static int start_plain(struct unpacking *u, struct err *err)
{
	int r = feed_new(N_READERS, N_BUFFERS, &u->plain);

	if (r < 0)
		return err_set(err, -r, "out of memory");
	r = start(u, decode, u, err);
	return r < 0 ? r : start_hash(u, &u->hash_plain, u->plain, err);
}

static int run(struct unpacking *u, int root_fd, struct unpack_result *ret, struct err *err)
{
	bytes_next_fn *next = next_unpacked;
	int r = start_packed(u, err);

	if (r < 0)
		return r;
	ret->format = decoder_format(u->decoder);
	if (ret->format != UNPACK_PLAIN) {
		r = start_plain(u, err);
		if (r < 0)
			return r;
		next = next_plain;
	}
	return layer_apply(root_fd, next, u, &u->options, &u->omissions, &ret->n_entries, err);
}

/* After a failure the source may be waiting for bytes that never come. */
static void end_threads(struct unpacking *u, bool failed)
{
	if (failed && u->packed != NULL)
		feed_stop(u->packed);
	if (failed && u->plain != NULL)
		feed_stop(u->plain);
	if (failed && u->n_threads > 0 && u->src->cancel != NULL)
		u->src->cancel(u->src->arg);
	for (unsigned int i = 0; i < u->n_threads; i++)
		(void)pthread_join(u->threads[i], NULL);
}

static void fill_result(struct unpacking *u, struct unpack_result *ret)
{
	if (decoder_trailing(u->decoder) > 0)
		omit(&u->omissions, OMIT_TRAILING, NULL,
		     "%llu bytes behind the end of the gzip data, passed over",
		     (unsigned long long)decoder_trailing(u->decoder));
	hasher_final(u->hash_packed.hasher, &ret->digest);
	ret->size = u->hash_packed.size;
	ret->diff_id = ret->digest;
	ret->diff_size = ret->size;
	if (u->hash_plain.hasher != NULL) {
		hasher_final(u->hash_plain.hasher, &ret->diff_id);
		ret->diff_size = u->hash_plain.size;
	}
	ret->n_warnings = omissions_finish(&u->omissions);
}

int unpack_layer(int root_fd, const struct unpack_source *src, const struct unpack_options *options,
		 struct unpack_result *ret, struct err *err)
{
	struct unpacking u = {.src = src};
	struct unpack_result result = {0};
	struct err own = {0}; /* what was tried first and failed is nobody's business */
	int r;

	if (options != NULL)
		u.options = *options;
	if (u.options.max_window == 0)
		u.options.max_window = DEFAULT_WINDOW;
	u.omissions.warn = u.options.warn;
	u.omissions.warn_arg = u.options.warn_arg;
	r = run(&u, root_fd, &result, &own);
	end_threads(&u, r < 0);
	if (r == 0) {
		fill_result(&u, &result);
		*ret = result;
	} else if (err != NULL) {
		*err = own;
	}
	(void)decoder_free(u.decoder);
	(void)feed_free(u.packed);
	(void)feed_free(u.plain);
	(void)hasher_free(u.hash_packed.hasher);
	(void)hasher_free(u.hash_plain.hasher);
	return r;
}
