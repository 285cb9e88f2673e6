#include "mount/blob_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/blob.h"

#define BATCH_ROWS 256

struct batch {
	size_t n;
	bool statted;
	bool at_end; /* nothing on disk behind it */
	struct blob_dir_row rows[BATCH_ROWS];
};

enum ahead { AHEAD_NONE, AHEAD_QUEUED, AHEAD_RUNNING, AHEAD_READY };

struct blob_dir {
	struct store *store;	 /* borrowed */
	struct workqueue *queue; /* borrowed */
	struct work work;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum ahead ahead; /* protected by lock: who may touch dir and next */
	bool in_queue;	  /* protected by lock: the job has not been run yet */
	bool want_stat;	  /* of the job; written before it is queued */
	DIR *dir;	  /* NULL: a read-only store without blobs/sha256 */
	struct batch *now, *next;
	uint64_t first; /* row number of now->rows[0] */
};

static int by_inode(const void *a, const void *b)
{
	ino_t x = ((const struct blob_dir_row *)a)->ino, y = ((const struct blob_dir_row *)b)->ino;

	return x < y ? -1 : x > y;
}

static void stat_rows(struct blob_dir *d, struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		b->rows[i].gone = blob_stat(d->store, &b->rows[i].digest, &b->rows[i].st) < 0;
	b->statted = true;
}

static void read_batch(struct blob_dir *d, struct batch *b, bool want_stat)
{
	b->n = 0;
	b->at_end = b->statted = false;
	while (b->n < BATCH_ROWS && !b->at_end) {
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): one at a time, see enum ahead */
		const struct dirent *e = d->dir != NULL ? readdir(d->dir) : NULL;
		struct blob_dir_row *row = &b->rows[b->n];

		if (e == NULL) {
			b->at_end = true;
		} else if ((e->d_type == DT_REG || e->d_type == DT_UNKNOWN) &&
			   digest_parse_hex(e->d_name, &row->digest) == 0) {
			row->ino = e->d_ino;
			row->gone = false;
			b->n++;
		}
	}
	qsort(b->rows, b->n, sizeof(b->rows[0]), by_inode);
	if (want_stat)
		stat_rows(d, b);
}

static void destroy(struct blob_dir *d)
{
	if (d->dir != NULL)
		(void)closedir(d->dir);
	(void)pthread_mutex_destroy(&d->lock);
	(void)pthread_cond_destroy(&d->changed);
	free(d->now);
	free(d->next);
	free(d);
}

/* The job. It finds AHEAD_NONE when the work was not waited for. */
static void read_ahead(struct work *w)
{
	struct blob_dir *d = list_entry(w, struct blob_dir, work);
	bool mine;

	(void)pthread_mutex_lock(&d->lock);
	mine = d->ahead == AHEAD_QUEUED;
	if (mine)
		d->ahead = AHEAD_RUNNING;
	(void)pthread_mutex_unlock(&d->lock);
	if (mine)
		read_batch(d, d->next, d->want_stat);
	(void)pthread_mutex_lock(&d->lock);
	if (mine)
		d->ahead = AHEAD_READY;
	d->in_queue = false;
	(void)pthread_cond_broadcast(&d->changed);
	(void)pthread_mutex_unlock(&d->lock);
}

static void start_ahead(struct blob_dir *d, bool want_stat)
{
	(void)pthread_mutex_lock(&d->lock);
	if (d->in_queue) { /* an old job that was overtaken: it does nothing, but holds work */
		(void)pthread_mutex_unlock(&d->lock);
		return;
	}
	d->ahead = AHEAD_QUEUED;
	d->in_queue = true;
	d->want_stat = want_stat;
	(void)pthread_mutex_unlock(&d->lock);
	workqueue_add(d->queue, &d->work);
}

/* From here dir and next are the caller's; whether next has been read. */
static bool end_ahead(struct blob_dir *d)
{
	bool ready;

	(void)pthread_mutex_lock(&d->lock);
	while (d->ahead == AHEAD_RUNNING)
		(void)pthread_cond_wait(&d->changed, &d->lock);
	ready = d->ahead == AHEAD_READY;
	d->ahead = AHEAD_NONE;
	(void)pthread_mutex_unlock(&d->lock);
	return ready;
}

static void advance(struct blob_dir *d, bool want_stat)
{
	struct batch *spare = d->now;
	size_t n = d->now->n;

	if (!end_ahead(d))
		read_batch(d, d->next, want_stat);
	d->first += n;
	d->now = d->next;
	d->next = spare;
	/* A first batch that is not full, or attributes that nobody wants: nothing to gain. */
	if (want_stat && !d->now->at_end)
		start_ahead(d, want_stat);
}

static void rewind_all(struct blob_dir *d)
{
	(void)end_ahead(d);
	if (d->dir != NULL)
		rewinddir(d->dir);
	d->first = 0;
	d->now->n = 0;
	d->now->at_end = d->dir == NULL;
}

int blob_dir_new(struct store *s, struct workqueue *work, struct blob_dir **ret)
{
	struct blob_dir *d = calloc(1, sizeof(*d));
	int r = 0;

	if (d == NULL)
		return -ENOMEM;
	(void)pthread_mutex_init(&d->lock, NULL);
	(void)pthread_cond_init(&d->changed, NULL);
	d->store = s;
	d->work.run = read_ahead;
	d->queue = work;
	d->now = calloc(1, sizeof(*d->now));
	d->next = calloc(1, sizeof(*d->next));
	if (d->now == NULL || d->next == NULL)
		r = -ENOMEM;
	if (r == 0 && store_blobs_fd(s) >= 0) {
		cleanup_fd int fd =
			openat(store_blobs_fd(s), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		d->dir = fd >= 0 ? fdopendir(fd) : NULL;
		if (d->dir == NULL)
			r = -errno;
		else
			(void)steal_fd(fd);
	}
	if (r < 0) {
		destroy(d);
		return r;
	}
	d->now->at_end = d->dir == NULL;
	*ret = d;
	return 0;
}

const struct blob_dir_row *blob_dir_row(struct blob_dir *d, uint64_t n, bool want_stat,
					uint64_t *ret_rows)
{
	if (n < d->first)
		rewind_all(d);
	while (n >= d->first + d->now->n) {
		if (d->now->at_end) {
			*ret_rows = d->first + d->now->n;
			return NULL;
		}
		advance(d, want_stat);
	}
	if (want_stat && !d->now->statted)
		stat_rows(d, d->now);
	return &d->now->rows[n - d->first];
}

struct blob_dir *blob_dir_free(struct blob_dir *d)
{
	if (d == NULL)
		return NULL;
	(void)end_ahead(d);
	(void)pthread_mutex_lock(&d->lock);
	while (d->in_queue)
		(void)pthread_cond_wait(&d->changed, &d->lock);
	(void)pthread_mutex_unlock(&d->lock);
	destroy(d);
	return NULL;
}
