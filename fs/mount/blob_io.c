/* Open blobs: passthrough or cached reads of complete ones, reads that wait for the others. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "mount/private.h"
#include "store/blob.h"

struct blob_handle {
	struct digest digest;
	uint32_t node;
	bool pending;
	bool passthrough;
	uint64_t opened_ns;
	atomic_int fd; /* of the complete blob; -1 until it is complete */
};

static struct blob_handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct blob_handle *)(uintptr_t)fi->fh;
}

/* The date of a use, written on a thread of ours: a journal may be busy. */
struct use {
	struct work work;
	struct mount *m;
	struct digest digest;
};

static void write_use(struct work *w)
{
	struct use *u = list_entry(w, struct use, work);

	blob_used(u->m->store, &u->digest);
	free(u);
}

static void note_use(struct mount *m, const struct digest *d, int fd)
{
	struct stat st;
	struct use *u;

	if (m->read_only || fstat(fd, &st) < 0 || blob_used_lately(&st))
		return;
	u = malloc(sizeof(*u));
	if (u == NULL)
		return;
	*u = (struct use){.work.run = write_use, .m = m, .digest = *d};
	workqueue_add(m->work, &u->work);
}

static void reply_passthrough(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int id)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h = handle_of(fi);

	h->passthrough = true;
	atomic_fetch_add(&m->n.opens_passthrough, 1);
	if (passthrough_reply_open(m->passthrough, req, fi, id) == 0)
		return;
	passthrough_close(m->passthrough, ino);
	(void)close(atomic_load(&h->fd));
	free(h);
}

void blob_open_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h;
	bool pending;
	int fd, id;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0) {
		fuse_reply_err(req, EROFS); /* blobs are immutable, for root too */
		return;
	}
	h = calloc(1, sizeof(*h));
	if (h == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	h->node = (uint32_t)ino;
	h->opened_ns = clock_mono_ns();
	if (!blob_table_get(m->blobs, h->node, &h->digest, &pending)) {
		free(h);
		fuse_reply_err(req, ESTALE);
		return;
	}
	h->pending = pending;
	fd = blob_open(m->store, &h->digest);
	if (fd < 0 && !(pending && fd == -ENOENT)) {
		free(h);
		/* Removed or evicted after its lookup: the kernel looks it up again, and finds what
		 * there is now. */
		fuse_reply_err(req, fd == -ENOENT ? ESTALE : errno_for_kernel(fd));
		return;
	}
	if (fd >= 0)
		note_use(m, &h->digest, fd);
	atomic_init(&h->fd, fd >= 0 ? fd : -1);
	fi->fh = (uintptr_t)h;
	fi->keep_cache = 1; /* what was read once stays right: the name is its digest */
	fi->noflush = 1;    /* close() has nothing to say */
	/*
	 * A pending node is cached for as long as the kernel knows it, even when the blob has
	 * become complete: one inode must not be open both ways.
	 */
	if (!pending && passthrough_enabled(m->passthrough)) {
		id = passthrough_open(m->passthrough, ino, fd);
		if (id > 0) {
			reply_passthrough(req, ino, fi, id);
			return;
		}
		/* e.g. ELOOP: the store lies on a stacked file system */
		log_debug("blob", "%s: passthrough refused: %s", digest_text(&h->digest).s,
			  err_describe(-id));
	}
	atomic_fetch_add(&m->n.opens_cached, 1);
	if (fuse_reply_open(req, fi) != 0) {
		if (fd >= 0)
			(void)close(fd);
		free(h);
	}
}

void blob_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h = handle_of(fi);
	int fd = atomic_load(&h->fd);

	if (h->passthrough)
		passthrough_close(m->passthrough, ino);
	if (fd >= 0) {
		note_use(m, &h->digest, fd);
		(void)close(fd);
	}
	free(h);
	fuse_reply_err(req, 0);
}

static void reply_from(fuse_req_t req, int fd, size_t size, uint64_t off)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(size);

	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = fd;
	v.buf[0].pos = (off_t)off;
	fuse_reply_data(req, &v, FUSE_BUF_SPLICE_MOVE);
}

/*
 * Whether readers of a pending node may have been given wrong bytes: to be asked when the bytes
 * are there, since what spoils the node comes before any other bytes.
 */
static bool is_spoilt(struct mount *m, uint32_t node)
{
	struct digest d;
	bool pending;

	return !blob_table_get(m->blobs, node, &d, &pending);
}

/* A read that waits for a source. Two owners: the asker until it has asked, and done(). */
struct remote_read {
	struct blob_wait wait;
	struct work work;
	struct mount *m;
	fuse_req_t req;
	struct digest digest;
	uint32_t node;
	size_t size;
	uint64_t off;
	pthread_t asker;
	int result;
	struct err why;
	atomic_int refs;
	atomic_bool interrupted;
};

static void remote_read_unref(struct remote_read *q)
{
	if (atomic_fetch_sub(&q->refs, 1) == 1)
		free(q);
}

static void remote_read_interrupt(fuse_req_t req, void *data)
{
	struct remote_read *q = data;

	(void)req;
	atomic_store(&q->interrupted, true);
	q->m->source->ops->cancel(q->m->source, &q->wait);
}

/* On a thread of ours: the source's must not wait for the disk. */
static void remote_read_finish(struct work *w)
{
	struct remote_read *q = list_entry(w, struct remote_read, work);

	if (q->result == 0 && is_spoilt(q->m, q->node))
		q->result = err_set(&q->why, EBADMSG, "bytes that were read before were wrong");
	if (q->result == 0) {
		reply_from(q->req, q->wait.fd, q->size, q->off);
	} else {
		if (q->result != -EINTR) {
			atomic_fetch_add(&q->m->n.remote_errors, 1);
			log_err("fetch", "%s: %s", digest_text(&q->digest).s,
				err_text(&q->why, q->result));
			failed_reads_note(&q->m->failed_reads, q->node, q->off, q->size, q->result);
		}
		fuse_reply_err(q->req, errno_for_kernel(q->result));
	}
	if (q->wait.fd >= 0)
		(void)close(q->wait.fd);
	remote_read_unref(q);
}

static void remote_read_done(struct blob_wait *w, int r, const struct err *err)
{
	struct remote_read *q = list_entry(w, struct remote_read, wait);

	/* Waits for an interrupt being delivered, so that it does not meet a freed q. */
	fuse_req_interrupt_func(q->req, NULL, NULL);
	q->result = r;
	if (err != NULL)
		q->why = *err;
	q->work.run = remote_read_finish;
	if (pthread_equal(q->asker, pthread_self()))
		remote_read_finish(&q->work); /* it was here already */
	else
		workqueue_add(q->m->work, &q->work);
}

static void start_remote_read(fuse_req_t req, const struct blob_handle *h, size_t size,
			      uint64_t off)
{
	struct mount *m = mount_of(req);
	struct remote_read *q = calloc(1, sizeof(*q));

	if (q == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	q->m = m;
	q->req = req;
	q->digest = h->digest;
	q->node = h->node;
	q->asker = pthread_self();
	q->size = size;
	q->off = off;
	q->wait.done = remote_read_done;
	q->wait.fd = -1;
	atomic_init(&q->refs, 2);
	atomic_fetch_add(&m->n.remote_reads, 1);
	if (m->grows != NULL)
		m->grows(m->grows_arg);
	fuse_req_interrupt_func(req, remote_read_interrupt, q);
	m->source->ops->ensure(m->source, &q->digest, off, size, &q->wait);
	/* req may be gone from here. An interrupt that came before ensure() knew of q: again. */
	if (atomic_load(&q->interrupted))
		m->source->ops->cancel(m->source, &q->wait);
	remote_read_unref(q);
}

static void read_remote(fuse_req_t req, const struct blob_handle *h, size_t size, uint64_t off)
{
	int r = failed_reads_find(&mount_of(req)->failed_reads, h->node, off, h->opened_ns);

	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else
		start_remote_read(req, h, size, off);
}

void blob_read_file(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h = handle_of(fi);
	int fd = atomic_load(&h->fd), none = -1;

	if (fd < 0) {
		/* It may have become complete since it was opened, by whatever way. */
		fd = blob_open(m->store, &h->digest);
		if (fd >= 0 && !atomic_compare_exchange_strong(&h->fd, &none, fd)) {
			(void)close(fd);
			fd = none;
		}
	}
	if (h->pending && is_spoilt(m, h->node))
		fuse_reply_err(req, EBADMSG);
	else if (fd >= 0)
		reply_from(req, fd, size, (uint64_t)off);
	else if (fd == -ENOENT && m->source != NULL)
		read_remote(req, h, size, (uint64_t)off);
	else
		fuse_reply_err(req, errno_for_kernel(fd));
}
