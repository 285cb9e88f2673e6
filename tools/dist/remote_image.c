#include "dist/remote_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/workqueue.h"
#include "dist/image.h"
#include "store/blob.h"

#define AT_ONCE 3 /* layers on their way */

struct layer_fetch {
	struct work work;
	struct remote_image *ri;
	const struct object *object;
	int r;
	struct err err;
};

static struct fill_object fill_object(const struct remote_image *ri, const struct descriptor *d)
{
	return remote_fill_object(d, ri->from[0] != '\0' ? ri->from : NULL);
}

static int have(struct remote_image *ri, const struct descriptor *d, struct err *err)
{
	struct fill_object o = fill_object(ri, d);

	if (blob_exists(ri->store, &d->digest))
		return 0;
	return fill_get(ri->fill, &o, remote_time_left(ri->remote), NULL, NULL, err);
}

/* objects_question.have */
static int have_manifest(void *arg, const struct descriptor *d, struct err *err)
{
	return have(arg, d, err);
}

static void fetch(struct work *work)
{
	struct layer_fetch *f = (struct layer_fetch *)work;

	f->r = have(f->ri, &f->object->d, &f->err);
}

static int begin_fetching(struct remote_image *ri, struct err *err)
{
	int r = workqueue_new(AT_ONCE, &ri->queue);

	if (r < 0)
		return err_errno(err, -r, "start threads");
	for (size_t i = 0; i < ri->objects.n; i++) {
		struct layer_fetch *f = &ri->fetches[ri->n_fetches];

		if (ri->objects.v[i].kind != OBJECT_LAYER)
			continue;
		ri->n_fetches++;
		*f = (struct layer_fetch){.work.run = fetch, .ri = ri, .object = &ri->objects.v[i]};
		workqueue_add(ri->queue, &f->work);
	}
	return 0;
}

struct arriving {
	struct remote_image *ri;
	struct fill_reader *reader;
};

static ssize_t read_arriving(void *arg, void *buf, size_t n, struct err *err)
{
	struct arriving *a = arg;
	uint64_t deadline_ms = a->ri->remote->deadline_ms;

	if (deadline_ms > 0 && clock_mono_ms() >= deadline_ms)
		return err_set(err, ETIMEDOUT, "timed out");
	return fill_reader_read(a->reader, buf, n, err);
}

static void cancel_arriving(void *arg)
{
	struct arriving *a = arg;

	remote_image_stop(a->ri);
}

static void close_arriving(struct layer_stream *st)
{
	struct arriving *a = st->impl;

	fill_reader_close(a->reader);
	free(a);
}

static int open_layer(struct layer_source *ls, const struct descriptor *d, struct layer_stream *ret,
		      struct err *err)
{
	struct remote_image *ri = (struct remote_image *)ls;
	struct fill_object o = fill_object(ri, d);
	cleanup_free struct arriving *a = NULL;
	int r;

	if (ri->queue == NULL) {
		r = begin_fetching(ri, err);
		if (r < 0)
			return r;
	}
	if (blob_exists(ri->store, &d->digest))
		return ri->local.source.open(&ri->local.source, d, ret, err);
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return err_set(err, ENOMEM, "out of memory");
	a->ri = ri;
	r = fill_reader_open(ri->fill, &o, &a->reader, err);
	if (r < 0)
		return r;
	ret->src =
		(struct unpack_source){.read = read_arriving, .cancel = cancel_arriving, .arg = a};
	ret->close = close_arriving;
	ret->impl = steal_ptr(a);
	return 0;
}

static int open_fill(struct remote_image *ri, struct err *err)
{
	struct fill_config config = {.store = ri->store, .verify = FILL_VERIFY_AT_EOF};
	int r = registry_new(&ri->remote->config, &ri->registry, err);

	if (r < 0)
		return r;
	config.registry = ri->registry;
	config.read_ms = remote_time_left(ri->remote);
	return fill_new(&config, &ri->fill, err);
}

/* What text stands for: by the store, or, where that does not know, by the registry. */
static int resolve(struct remote_image *ri, const char *text, struct err *err)
{
	struct reference name;
	struct registry_object o;
	int r = image_find(ri->store, text, &ri->entry, err), e;

	if (r < 0 && r != -ENOENT)
		return r;
	ri->is_named = r == 0 && ri->entry.name[0] != '\0';
	if (strncmp(text, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0)
		return r;
	e = remote_name(ri->is_named ? ri->entry.name : text, NULL, &name, err);
	if (e < 0)
		return e;
	reference_format_name(&name, ri->from);
	if (ri->is_named)
		return 0;
	reference_format(&name, ri->entry.name);
	if (r == 0)
		return 0; /* by its digest */
	r = remote_resolve(ri->remote, ri->registry, &name, &o, err);
	if (r < 0)
		return r;
	ri->entry.digest = o.digest;
	ri->entry.size = o.has_size ? o.size : 0;
	(void)snprintf(ri->entry.mediatype, sizeof(ri->entry.mediatype), "%s", o.mediatype);
	return 0;
}

static int have_config(struct remote_image *ri, const struct descriptor *d, struct err *err)
{
	int r = have(ri, d, err);

	return r < 0 ? err_wrap(err, r, "config %s", digest_text(&d->digest).s) : 0;
}

static int collect(struct remote_image *ri, const struct platform *want, struct err *err)
{
	struct objects_question q = {
		.store = ri->store, .want = want, .have = have_manifest, .arg = ri};
	struct descriptor top = {.digest = ri->entry.digest, .size = ri->entry.size};
	int r;

	(void)snprintf(top.mediatype, sizeof(top.mediatype), "%s", ri->entry.mediatype);
	r = objects_collect(&q, &top, &ri->objects, err);
	for (size_t i = 0; i < ri->objects.n && r == 0; i++)
		if (ri->objects.v[i].kind == OBJECT_CONFIG)
			r = have_config(ri, &ri->objects.v[i].d, err);
	if (r < 0)
		return r;
	/* The manifest itself is one of them at least. */
	ri->fetches = calloc(ri->objects.n > 0 ? ri->objects.n : 1, sizeof(*ri->fetches));
	return ri->fetches == NULL ? err_set(err, ENOMEM, "out of memory") : 0;
}

int remote_image_open(struct store *s, const struct remote *re, const char *text,
		      const struct platform *want, struct remote_image *ret, struct err *err)
{
	int r;

	*ret = (struct remote_image){.source.open = open_layer, .remote = re, .store = s};
	store_layers_init(&ret->local, s);
	r = open_fill(ret, err);
	if (r == 0)
		r = resolve(ret, text, err);
	if (r == 0)
		r = collect(ret, want, err);
	if (r < 0)
		remote_image_close(ret);
	return r;
}

/* The top manifest is the last of the objects, with the size and type that it turned out to have.
 */
static int set_name(struct remote_image *ri, struct err *err)
{
	const struct descriptor *top = &ri->objects.v[ri->objects.n - 1].d;

	if (ri->is_named || ri->entry.name[0] == '\0')
		return 0;
	ri->entry.size = top->size;
	(void)snprintf(ri->entry.mediatype, sizeof(ri->entry.mediatype), "%s", top->mediatype);
	return image_index_set(ri->store, &ri->entry, err);
}

int remote_image_finish(struct remote_image *ri, struct err *err)
{
	ri->queue = workqueue_free(ri->queue);
	for (size_t i = 0; i < ri->n_fetches; i++) {
		const struct layer_fetch *f = &ri->fetches[i];

		/* Its reader may have had more luck. */
		if (f->r < 0 && !blob_exists(ri->store, &f->object->d.digest)) {
			if (err != NULL)
				*err = f->err;
			return err_wrap(err, f->r, "layer %s", digest_text(&f->object->d.digest).s);
		}
	}
	return set_name(ri, err);
}

void remote_image_stop(struct remote_image *ri)
{
	fill_stop(ri->fill);
}

void remote_image_close(struct remote_image *ri)
{
	if (ri->fill != NULL)
		fill_stop(ri->fill);
	ri->queue = workqueue_free(ri->queue);
	ri->fill = fill_free(ri->fill);
	ri->registry = registry_free(ri->registry);
	objects_done(&ri->objects);
	free(ri->fetches);
	ri->fetches = NULL;
}
