#include "unpack/feed.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct feed {
	pthread_mutex_t lock;
	pthread_cond_t moved;		 /* signalled when any of the positions below changes */
	uint64_t written;		 /* buffers; protected by lock, like all below */
	uint64_t read[FEED_MAX_READERS]; /* buffers given back */
	bool holds[FEED_MAX_READERS];	 /* a reader is in buffer number read[] */
	bool ended, stopped;
	int end_r;
	struct err end_err;
	unsigned int n_readers, n_buffers; /* constant */
	size_t *len;			   /* of each buffer; written before it is published */
	uint8_t *data;
};

int feed_new(unsigned int n_readers, unsigned int n_buffers, struct feed **ret)
{
	struct feed *f = calloc(1, sizeof(*f));

	assert(n_readers > 0 && n_readers <= FEED_MAX_READERS);
	if (f == NULL)
		return -ENOMEM;
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_cond_init(&f->moved, NULL);
	f->n_readers = n_readers;
	f->n_buffers = n_buffers;
	f->len = calloc(n_buffers, sizeof(*f->len));
	f->data = malloc(n_buffers * FEED_BYTES);
	if (f->len == NULL || f->data == NULL) {
		(void)feed_free(f);
		return -ENOMEM;
	}
	*ret = f;
	return 0;
}

static bool is_full_locked(const struct feed *f)
{
	for (unsigned int i = 0; i < f->n_readers; i++)
		if (f->written - f->read[i] >= f->n_buffers)
			return true;
	return false;
}

uint8_t *feed_reserve(struct feed *f)
{
	uint8_t *p;

	(void)pthread_mutex_lock(&f->lock);
	while (is_full_locked(f) && !f->stopped)
		(void)pthread_cond_wait(&f->moved, &f->lock);
	p = f->stopped ? NULL : f->data + (size_t)(f->written % f->n_buffers) * FEED_BYTES;
	(void)pthread_mutex_unlock(&f->lock);
	return p;
}

void feed_push(struct feed *f, size_t n)
{
	assert(n > 0 && n <= FEED_BYTES);
	(void)pthread_mutex_lock(&f->lock);
	f->len[f->written % f->n_buffers] = n;
	f->written++;
	(void)pthread_cond_broadcast(&f->moved);
	(void)pthread_mutex_unlock(&f->lock);
}

void feed_end(struct feed *f, int r, const struct err *err)
{
	(void)pthread_mutex_lock(&f->lock);
	f->ended = true;
	f->end_r = r;
	if (err != NULL)
		f->end_err = *err;
	(void)pthread_cond_broadcast(&f->moved);
	(void)pthread_mutex_unlock(&f->lock);
}

ssize_t feed_next(struct feed *f, unsigned int reader, const uint8_t **ret, struct err *err)
{
	ssize_t n = 0;

	(void)pthread_mutex_lock(&f->lock);
	if (f->holds[reader]) {
		f->holds[reader] = false;
		f->read[reader]++;
		(void)pthread_cond_broadcast(&f->moved);
	}
	while (f->read[reader] == f->written && !f->ended && !f->stopped)
		(void)pthread_cond_wait(&f->moved, &f->lock);
	if (f->stopped) {
		n = -ECANCELED;
	} else if (f->read[reader] < f->written) {
		size_t at = (size_t)(f->read[reader] % f->n_buffers);

		f->holds[reader] = true;
		*ret = f->data + at * FEED_BYTES;
		n = (ssize_t)f->len[at];
	} else if (f->end_r < 0) {
		n = f->end_r;
		if (err != NULL)
			*err = f->end_err;
	}
	(void)pthread_mutex_unlock(&f->lock);
	return n;
}

void feed_stop(struct feed *f)
{
	(void)pthread_mutex_lock(&f->lock);
	f->stopped = true;
	(void)pthread_cond_broadcast(&f->moved);
	(void)pthread_mutex_unlock(&f->lock);
}

struct feed *feed_free(struct feed *f)
{
	if (f == NULL)
		return NULL;
	(void)pthread_cond_destroy(&f->moved);
	(void)pthread_mutex_destroy(&f->lock);
	free(f->len);
	free(f->data);
	free(f);
	return NULL;
}
