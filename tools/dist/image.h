/*
 * An image of the store, found by name or digest, down to the manifest of one platform and its
 * config.
 *
 *   image_open -> image_load_config ... -> image_close
 *
 * A name is looked up as it is typed, then in full ("redis" is docker.io/library/redis:latest); one
 * with a digest means the digest. Everything is verified as it is read.
 *
 * Threads: main only.
 */
#ifndef DIST_IMAGE_H
#define DIST_IMAGE_H

#include "oci/config.h"
#include "oci/manifest.h"
#include "store/image_index.h"
#include "store/layout.h"

struct image {
	struct image_entry entry;    /* what was asked for; name "" where that was a digest */
	struct manifest *index;	     /* NULL unless that is an index */
	struct digest digest;	     /* of the manifest */
	struct manifest *manifest;   /* NULL where no manifest of the index suits the platform */
	struct image_config *config; /* NULL before image_load_config() */
};

/*
 * What a name or digest stands for; the size is 0 for a digest.
 * Returns 0, -ENOENT (no such name), -EINVAL (no name), or as image_index_get().
 */
int image_find(struct store *s, const char *text, struct image_entry *ret, struct err *err);

/*
 * Find it and read the manifest that suits `want` best, through indexes.
 * Returns 0 (also without a manifest, see above), as image_find(), as manifest_parse(), or -ENOENT
 * where a blob is not in the store. On failure *ret is as image_close() leaves it.
 */
int image_open(struct store *s, const char *text, const struct platform *want, struct image *ret,
	       struct err *err);

/*
 * Read the config. Returns 0, -ENOENT (no manifest, or a blob not in the store), -EOPNOTSUPP (an
 * artifact that is no image), -EBADMSG (also when it names more or fewer layers than the manifest).
 */
int image_load_config(struct store *s, struct image *im, struct err *err);

void image_close(struct image *im);

/* What config and layers weigh, and how much of that lies in the store. */
struct image_weight {
	uint64_t bytes, local_bytes;
	size_t n_layers, n_local;
};

struct image_weight image_weigh(struct store *s, const struct manifest *m);

/* --platform, or the host's where text is NULL; 0 or -EINVAL. */
int image_platform(const char *text, struct platform *ret, struct err *err);

#endif
