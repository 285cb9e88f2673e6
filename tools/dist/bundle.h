/*
 * A bundle that a runtime runs, from an image whose layers have been unpacked already:
 *
 *   DIR/rootfs/        unpacked
 *   DIR/volumes/<n>/   one for each volume of the image, holding what the image has there
 *   DIR/config.json    written last: a directory without it is no bundle
 *
 * Threads: main only.
 */
#ifndef DIST_BUNDLE_H
#define DIST_BUNDLE_H

#include <stdbool.h>

#include "base/err.h"
#include "oci/config.h"

struct bundle_options {
	char **args;   /* instead of the image's command, ended by NULL; NULL: none */
	bool terminal; /* the process gets one */
	bool rootless; /* for a runtime that we run as who we are */
	/* NULL, or: one line about something that was left out. */
	void (*warn)(void *arg, const char *text);
	void *warn_arg;
};

/*
 * Everything but the unpacking.
 *
 * @dir_fd  the bundle; rootfs is in it
 *
 * Returns 0, or
 *   -ENOENT  the image's user is not in its user database
 *   -EINVAL  nothing to run, or what the config says cannot be had
 *   other    from the file system
 */
int bundle_finish(int dir_fd, const struct image_config *c, const struct bundle_options *o,
		  struct err *err);

#endif
