#include "dist/objects.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "store/blob.h"

CLEANUP_DEFINE(struct manifest *, manifest_free);

const char *object_kind_name(enum object_kind kind)
{
	static const char *const names[] = {"layer", "config", "manifest", "blob"};

	return names[kind];
}

void objects_done(struct objects *list)
{
	free(list->v);
	*list = (struct objects){0};
}

static bool has(const struct objects *list, const struct digest *d)
{
	for (size_t i = 0; i < list->n; i++)
		if (digest_equal(&list->v[i].d.digest, d))
			return true;
	return false;
}

static int add(struct objects *list, enum object_kind kind, const struct descriptor *d,
	       struct err *err)
{
	if (has(list, &d->digest))
		return 0;
	if (list->n == OBJECTS_MAX)
		return err_set(err, E2BIG, "more than %d objects", OBJECTS_MAX);
	if (list->n == list->cap) {
		size_t cap = list->cap > 0 ? list->cap * 2 : 64;
		struct object *at = reallocarray(list->v, cap, sizeof(*at));

		if (at == NULL)
			return err_set(err, ENOMEM, "out of memory");
		list->v = at;
		list->cap = cap;
	}
	list->v[list->n] = (struct object){.kind = kind, .d = *d};
	list->v[list->n++].d.urls = NULL; /* they are the manifest's, which goes */
	return 0;
}

static int collect(const struct objects_question *q, const struct descriptor *d, int depth,
		   struct objects *list, struct err *err);

static int no_such_platform(const struct objects_question *q, const struct manifest *m,
			    struct err *err)
{
	char want[PLATFORM_TEXT_MAX], has_one[PLATFORM_TEXT_MAX], all[300] = "";

	platform_format(q->want, want);
	for (size_t i = 0; i < m->n_entries; i++) {
		size_t n = strlen(all);

		platform_format(&m->entries[i].platform, has_one);
		(void)snprintf(all + n, sizeof(all) - n, " %s", has_one);
	}
	return err_set(err, ENOENT, "there is no image for %s, but for:%s", want, all);
}

static int collect_index(const struct objects_question *q, const struct manifest *m, int depth,
			 struct objects *list, struct err *err)
{
	const struct descriptor *one;
	int r = 0;

	if (q->want != NULL) {
		one = manifest_select(m, q->want);
		if (one == NULL)
			return no_such_platform(q, m, err);
		list->platform = one->platform;
		return collect(q, one, depth + 1, list, err);
	}
	for (size_t i = 0; i < m->n_entries && r == 0; i++)
		r = collect(q, &m->entries[i], depth + 1, list, err);
	return r;
}

static int collect_image(const struct manifest *m, struct objects *list, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < m->n_entries && r == 0; i++)
		if (!mediatype_is_foreign(m->entries[i].mediatype))
			r = add(list, OBJECT_LAYER, &m->entries[i], err);
	return r == 0 ? add(list, OBJECT_CONFIG, &m->config, err) : r;
}

static int collect(const struct objects_question *q, const struct descriptor *d, int depth,
		   struct objects *list, struct err *err)
{
	cleanup(manifest_freep) struct manifest *m = NULL;
	struct digest_text name = digest_text(&d->digest);
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MANIFEST_MAX_BYTES);
	if (depth > MANIFEST_DEPTH_MAX)
		return err_set(err, E2BIG, "indexes lie within indexes more than %d deep",
			       MANIFEST_DEPTH_MAX);
	if (has(list, &d->digest))
		return 0;
	r = q->have(q->arg, d, err);
	if (r == 0)
		r = blob_read(q->store, &d->digest, &b, err);
	if (r == 0 && d->size != 0 && b.len != d->size)
		r = err_set(err, EBADMSG, "has %zu bytes, its descriptor says %llu", b.len,
			    (unsigned long long)d->size);
	if (r == 0)
		r = manifest_parse(b.data, b.len, &m, err);
	if (r < 0)
		return err_wrap(err, r, "manifest %s", name.s);
	assert(m != NULL);
	r = m->kind == MANIFEST_INDEX ? collect_index(q, m, depth, list, err)
				      : collect_image(m, list, err);
	if (r == 0) {
		struct descriptor full = *d;

		full.size = b.len;
		(void)snprintf(full.mediatype, sizeof(full.mediatype), "%s", m->mediatype);
		r = add(list, OBJECT_MANIFEST, &full, err);
	}
	return r;
}

int objects_collect(const struct objects_question *q, const struct descriptor *top,
		    struct objects *ret, struct err *err)
{
	return collect(q, top, 0, ret, err);
}
