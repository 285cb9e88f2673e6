/*
 * All layers of an image onto one directory, bottom first, each checked: its bytes against the
 * manifest, its diffID against the config.
 *
 * Threads: main only; unpack_layer() has its own.
 */
#ifndef DIST_IMAGE_UNPACK_H
#define DIST_IMAGE_UNPACK_H

#include "dist/image.h"
#include "dist/layer_source.h"

struct unpacked_layer {
	size_t n; /* counted from 0 */
	const struct descriptor *descriptor;
	struct digest chain_id;
	struct unpack_result result;
};

struct image_unpack {
	const struct image *image; /* with its config */
	struct layer_source *source;
	struct unpack_options options; /* max_bytes, max_entries: of all layers together */
	/* NULL, or: called behind each layer. */
	void (*done)(void *arg, const struct unpacked_layer *layer);
	void *arg;
};

/*
 * @root_fd  an empty directory; borrowed
 *
 * Returns 0, or
 *   -EBADMSG     a layer's bytes or diffID are not what manifest and config say, or see
 *                unpack_layer()
 *   -ENOENT      a layer is not to be had
 *   -EOPNOTSUPP  a layer is of a kind that is not unpacked
 *   other        as unpack_layer()
 * The layers before the bad one, and a part of that, are in the directory then.
 */
int image_unpack(const struct image_unpack *u, int root_fd, struct err *err);

/*
 * A directory to unpack into: made, with mode, when absent; else it must be empty.
 * Returns a descriptor; or -EEXIST (not empty), -ENOTDIR or from mkdir(2). *ret_made tells which.
 */
int unpack_dir_open(const char *path, mode_t mode, bool *ret_made, struct err *err);

/* What a failure left of it: emptied, and removed when it was made by us. */
void unpack_dir_undo(const char *path, bool made);

#endif
