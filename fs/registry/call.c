#include "registry/call.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define MAX_WAITING ((size_t)4 << 20)

/* A request and who waits for it. */
struct call {
	struct registry_request q;
	struct registry *r;
	pthread_mutex_t lock;
	pthread_cond_t news;
	struct buf *out; /* of bytes not yet handed on; protected by lock, like all below */
	bool bounded;	 /* out is emptied as we go: the sender waits for room */
	uint64_t offset; /* of the first byte in it */
	bool wants_room; /* data() was refused */
	bool ended;
	int result;
	struct err err;
	bool has_object;
	struct registry_object object;
};

static int on_data(struct registry_request *q, uint64_t offset, const void *p, size_t n)
{
	struct call *c = q->arg;
	int r = 0;

	(void)pthread_mutex_lock(&c->lock);
	if (c->out->len == 0)
		c->offset = offset;
	if (c->bounded && c->out->len > 0 && c->out->len + n > MAX_WAITING) {
		c->wants_room = true;
		r = -EAGAIN;
	} else {
		r = buf_add(c->out, p, n);
	}
	(void)pthread_cond_signal(&c->news);
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

static void on_done(struct registry_request *q, int r, const struct registry_object *o,
		    const struct err *err)
{
	struct call *c = q->arg;

	(void)pthread_mutex_lock(&c->lock);
	c->ended = true;
	c->result = r;
	if (err != NULL)
		c->err = *err;
	if (o != NULL) {
		c->has_object = true;
		c->object = *o;
	}
	(void)pthread_cond_signal(&c->news);
	(void)pthread_mutex_unlock(&c->lock);
}

static void call_init(struct call *c, struct registry *r, enum registry_op op,
		      const struct registry_name *name)
{
	memset(c, 0, sizeof(*c));
	c->r = r;
	c->q = (struct registry_request){
		.op = op,
		.host = name->host,
		.repository = name->repository,
		.object = name->object,
		.mediatype = name->mediatype,
		.size = name->size,
		.deadline_ms = name->deadline_ms,
		.avoid = name->avoid,
		.data = on_data,
		.done = on_done,
		.arg = c,
	};
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->news, NULL);
}

static int call_done(struct call *c, struct registry_object *ret_object, struct err *err)
{
	(void)pthread_cond_destroy(&c->news);
	(void)pthread_mutex_destroy(&c->lock);
	if (c->result == 0 && c->has_object && ret_object != NULL)
		*ret_object = c->object;
	if (c->result < 0 && err != NULL)
		*err = c->err;
	return c->result;
}

static void wait_for_end(struct call *c)
{
	(void)pthread_mutex_lock(&c->lock);
	while (!c->ended)
		(void)pthread_cond_wait(&c->news, &c->lock);
	(void)pthread_mutex_unlock(&c->lock);
}

int registry_describe(struct registry *r, enum registry_op op, const struct registry_name *name,
		      struct registry_object *ret, struct err *err)
{
	struct call c;

	call_init(&c, r, op, name);
	registry_start(r, &c.q);
	wait_for_end(&c);
	return call_done(&c, ret, err);
}

int registry_get_manifest(struct registry *r, const struct registry_name *name, struct buf *out,
			  struct registry_object *ret_object, struct err *err)
{
	struct call c;
	int k;

	call_init(&c, r, REGISTRY_MANIFEST, name);
	c.out = out;
	registry_start(r, &c.q);
	wait_for_end(&c);
	k = call_done(&c, ret_object, err);
	return k == -E2BIG && (err == NULL || err->code == 0)
		       ? err_set(err, E2BIG, "the manifest is larger than what is wanted")
		       : k;
}

/* Wait for bytes and take all there are; false: there are none and will be none. */
static bool take_bytes(struct call *c, struct buf *taken, uint64_t *ret_offset)
{
	bool resume, any;
	struct buf empty = *taken;

	(void)pthread_mutex_lock(&c->lock);
	while (!c->ended && c->out->len == 0)
		(void)pthread_cond_wait(&c->news, &c->lock);
	*ret_offset = c->offset;
	*taken = *c->out;
	*c->out = empty;
	c->out->len = 0;
	any = taken->len > 0;
	resume = c->wants_room;
	c->wants_room = false;
	(void)pthread_mutex_unlock(&c->lock);
	if (resume)
		registry_resume(c->r, &c->q);
	return any;
}

int registry_read(struct registry *r, enum registry_op op, const struct registry_name *name,
		  uint64_t offset, uint64_t length,
		  int (*fn)(void *arg, uint64_t offset, const void *p, size_t n), void *arg,
		  struct registry_object *ret_object, struct err *err)
{
	cleanup_buf struct buf out, taken;
	struct call c;
	uint64_t at;
	int k = 0;

	buf_init(&out, 2 * MAX_WAITING); /* MAX_WAITING, or one piece that is larger */
	buf_init(&taken, 2 * MAX_WAITING);
	call_init(&c, r, op, name);
	c.q.offset = offset;
	c.q.length = length;
	c.out = &out;
	c.bounded = true;
	registry_start(r, &c.q);
	while (k == 0 && take_bytes(&c, &taken, &at))
		k = fn(arg, at, taken.data, taken.len);
	if (k != 0)
		registry_cancel(r, &c.q);
	wait_for_end(&c);
	if (k == 0)
		return call_done(&c, ret_object, err);
	(void)call_done(&c, ret_object, NULL);
	return k;
}
