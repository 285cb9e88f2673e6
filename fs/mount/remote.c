#include "mount/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

/* What this thread is in the middle of, since a source may call back before it returns. */
static __thread const struct remote *asking, *interrupting;

/* Two owners: the asker until it has asked, and done(). */
static void unref(struct remote *r)
{
	if (atomic_fetch_sub(&r->refs, 1) == 1)
		free(r);
}

static void interrupt(fuse_req_t req, void *data)
{
	struct remote *r = data;

	(void)req;
	atomic_store(&r->interrupted, true);
	interrupting = r;
	r->m->source->ops->cancel(r->m->source, &r->wait);
	interrupting = NULL;
}

/*
 * On a thread of ours, since the source's must not wait for the disk. Not on one of m->work: those
 * may all wait for a directory of which the kernel waits for the answer to a lookup.
 */
static void finish(struct work *w)
{
	struct remote *r = list_entry(w, struct remote, work);

	/* Waits for an interrupt being delivered, so that it does not meet a freed r. */
	if (interrupting != r)
		fuse_req_interrupt_func(r->req, NULL, NULL);
	r->answer(r);
	if (r->wait.fd >= 0)
		(void)close(r->wait.fd);
	unref(r);
}

static void done(struct blob_wait *w, int result, const struct err *err)
{
	struct remote *r = list_entry(w, struct remote, wait);

	r->result = result;
	if (err != NULL)
		r->why = *err;
	r->work.run = finish;
	/* libfuse holds a lock of the request while interrupt() runs. */
	if (asking == r)
		finish(&r->work); /* it was here already */
	else
		workqueue_add(r->m->answers, &r->work);
}

void remote_fail(struct remote *r)
{
	if (r->result != -EINTR) {
		atomic_fetch_add(&r->m->n.remote_errors, 1);
		log_err("fetch", "%s: %s", digest_text(&r->digest).s, err_text(&r->why, r->result));
	}
	fuse_reply_err(r->req, errno_for_kernel(r->result));
}

void remote_init(struct remote *r, fuse_req_t req, const struct digest *d,
		 void (*answer)(struct remote *r))
{
	r->m = mount_of(req);
	r->req = req;
	r->digest = *d;
	r->answer = answer;
	r->wait.done = done;
	r->wait.fd = -1;
	atomic_init(&r->refs, 2);
}

void remote_ask(struct remote *r, uint64_t offset, uint64_t length)
{
	struct blob_source *source = r->m->source;

	fuse_req_interrupt_func(r->req, interrupt, r);
	asking = r;
	if (length > 0)
		source->ops->ensure(source, &r->digest, offset, length, &r->wait);
	else
		source->ops->lookup(source, &r->digest, &r->wait);
	asking = NULL;
	/* req may be gone from here. An interrupt that came before the source knew of r: again. */
	if (atomic_load(&r->interrupted))
		source->ops->cancel(source, &r->wait);
	unref(r);
}
