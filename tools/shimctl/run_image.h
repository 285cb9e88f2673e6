/*
 * run with an image of a content store: `dist bundle` makes a bundle of it in the shim's directory.
 *
 * Threads: none.
 */
#ifndef SHIMCTL_RUN_IMAGE_H
#define SHIMCTL_RUN_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct interrupt;

struct run_image {
	const char *root;  /* of the content store; NULL: as dist has it */
	const char *name;  /* a name, or a digest */
	char *const *args; /* in place of the image's own command */
	size_t n_args;
	bool tty;
};

/* A path that begins with / or . is a bundle, and so is a directory that looks like one. */
bool run_is_bundle(const char *name);

/*
 * Make the bundle dir/bundle. Signals that in holds back are passed on to dist. Returns 0, or a
 * negative errno; dist has told more on stderr then.
 */
int run_image_unpack(const char *dir, const struct run_image *im, struct interrupt *in,
		     struct err *err);

#endif
