#include "dist/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "oci/reference.h"
#include "store/blob.h"

int image_find(struct store *s, const char *text, struct image_entry *ret, struct err *err)
{
	struct image_entry e = {0};
	struct reference ref;
	int r;

	if (strncmp(text, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0) {
		r = digest_parse(text, &e.digest, err);
		if (r == 0)
			*ret = e;
		return r;
	}
	r = image_index_get(s, text, ret, err);
	if (r != -ENOENT)
		return r;
	r = reference_parse(text, &ref, err);
	if (r < 0)
		return r;
	if (ref.has_digest) {
		e.digest = ref.digest;
		*ret = e;
		return 0;
	}
	reference_set_default_tag(&ref);
	reference_format(&ref, e.name);
	return image_index_get(s, e.name, ret, err);
}

static int read_blob(struct store *s, const char *what, const struct digest *d, struct buf *b,
		     struct err *err)
{
	int r = blob_read(s, d, b, err);

	if (r == -ENOENT)
		return err_set(err, ENOENT, "%s %s is not in the store", what, digest_text(d).s);
	return r < 0 ? err_wrap(err, r, "%s %s", what, digest_text(d).s) : 0;
}

static int read_manifest(struct store *s, const struct digest *d, struct manifest **ret,
			 struct err *err)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MANIFEST_MAX_BYTES);
	r = read_blob(s, "manifest", d, &b, err);
	if (r < 0)
		return r;
	r = manifest_parse(b.data, b.len, ret, err);
	return r < 0 ? err_wrap(err, r, "%s", digest_text(d).s) : 0;
}

/* Go down from what was found to the manifest of the platform. */
static int descend(struct store *s, const struct platform *want, struct image *im, struct err *err)
{
	struct manifest *inner = NULL;
	const struct descriptor *d;
	struct digest at = im->entry.digest;
	int r = read_manifest(s, &at, &im->manifest, err);

	for (int depth = 0; r == 0 && im->manifest->kind == MANIFEST_INDEX; depth++) {
		if (depth == MANIFEST_DEPTH_MAX)
			return err_set(err, E2BIG, "%s: indexes nested deeper than %d",
				       digest_text(&im->entry.digest).s, MANIFEST_DEPTH_MAX);
		d = manifest_select(im->manifest, want);
		if (d != NULL) {
			at = d->digest;
			r = read_manifest(s, &at, &inner, err);
		}
		if (im->index == NULL)
			im->index = im->manifest;
		else
			manifest_free(im->manifest);
		im->manifest = r == 0 ? inner : NULL;
		inner = NULL;
		if (im->manifest == NULL)
			return r;
	}
	im->digest = at;
	return r;
}

int image_open(struct store *s, const char *text, const struct platform *want, struct image *ret,
	       struct err *err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = image_find(s, text, &ret->entry, err);
	if (r == 0)
		r = descend(s, want, ret, err);
	if (r < 0)
		image_close(ret);
	return r;
}

int image_load_config(struct store *s, struct image *im, struct err *err)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, IMAGE_CONFIG_MAX_BYTES);
	if (im->manifest == NULL)
		return err_set(err, ENOENT, "%s has no image for this platform",
			       digest_text(&im->entry.digest).s);
	if (!mediatype_is_config(im->manifest->config.mediatype))
		return err_set(err, EOPNOTSUPP, "%s is no image, its config is %s",
			       digest_text(&im->digest).s, im->manifest->config.mediatype);
	r = read_blob(s, "config", &im->manifest->config.digest, &b, err);
	if (r == 0)
		r = image_config_parse(b.data, b.len, &im->config, err);
	if (r == 0 && im->config->n_diff_ids != im->manifest->n_entries)
		r = err_set(err, EBADMSG, "%s: %zu layers, but the config has %zu diffIDs",
			    digest_text(&im->digest).s, im->manifest->n_entries,
			    im->config->n_diff_ids);
	return r;
}

void image_close(struct image *im)
{
	im->index = manifest_free(im->index);
	im->manifest = manifest_free(im->manifest);
	im->config = image_config_free(im->config);
}

struct image_weight image_weigh(struct store *s, const struct manifest *m)
{
	struct image_weight w = {.bytes = m->config.size, .n_layers = m->n_entries};

	w.local_bytes = blob_exists(s, &m->config.digest) ? m->config.size : 0;
	for (size_t i = 0; i < m->n_entries; i++) {
		w.bytes += m->entries[i].size;
		if (!blob_exists(s, &m->entries[i].digest))
			continue;
		w.local_bytes += m->entries[i].size;
		w.n_local++;
	}
	return w;
}

int image_platform(const char *text, struct platform *ret, struct err *err)
{
	if (text != NULL)
		return platform_parse(text, ret, err);
	platform_host(ret);
	return 0;
}
