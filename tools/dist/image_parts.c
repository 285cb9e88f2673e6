#include "dist/image_parts.h"

#include <errno.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "oci/manifest.h"
#include "store/blob.h"

CLEANUP_DEFINE(struct manifest *, manifest_free);

struct walk {
	struct store *store;
	int (*fn)(void *arg, const struct digest *d);
	void *arg;
	struct err *err;
};

/* *ret stays NULL where d is not here, or is no manifest. */
static int read_manifest(struct walk *w, const struct digest *d, struct manifest **ret)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MANIFEST_MAX_BYTES);
	r = blob_read(w->store, d, &b, w->err);
	if (r == -ENOENT || r == -E2BIG)
		return 0;
	if (r < 0)
		return r;
	r = manifest_parse(b.data, b.len, ret, NULL);
	return r == -ENOMEM ? err_set(w->err, ENOMEM, "out of memory") : 0;
}

static bool names_parts(const struct descriptor *d)
{
	return mediatype_is_manifest(d->mediatype) || mediatype_is_index(d->mediatype);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as MANIFEST_DEPTH_MAX */
static int walk_manifest(struct walk *w, const struct digest *d, int depth)
{
	cleanup(manifest_freep) struct manifest *m = NULL;
	int r;

	if (depth > MANIFEST_DEPTH_MAX)
		return err_set(w->err, E2BIG, "%s: indexes nested deeper than %d", digest_text(d).s,
			       MANIFEST_DEPTH_MAX);
	r = read_manifest(w, d, &m);
	if (r < 0 || m == NULL)
		return r;
	if (m->kind == MANIFEST_IMAGE)
		r = w->fn(w->arg, &m->config.digest);
	for (size_t i = 0; i < m->n_entries && r == 0; i++) {
		r = w->fn(w->arg, &m->entries[i].digest);
		if (r == 0 && names_parts(&m->entries[i]))
			r = walk_manifest(w, &m->entries[i].digest, depth + 1);
	}
	return r;
}

int image_parts(struct store *s, const struct digest *root,
		int (*fn)(void *arg, const struct digest *d), void *arg, struct err *err)
{
	struct walk w = {.store = s, .fn = fn, .arg = arg, .err = err};
	int r = fn(arg, root);

	return r == 0 ? walk_manifest(&w, root, 0) : r;
}
