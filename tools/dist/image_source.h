/*
 * The image that `dist unpack` and `dist bundle` are told to unpack, and where its layers come
 * from: the store when that has all of it, else what it lacks is fetched while it is unpacked.
 *
 *   image_source_open -> image_source_hold -> make the directory; image_unpack() from s->source
 *     -> image_source_finish -> tidy up when anything failed -> image_source_close
 *
 * A signal that would end the process between _hold() and _close() makes what goes on fail with
 * -EINTR, and ends it in _close().
 *
 * Threads: main only.
 */
#ifndef DIST_IMAGE_SOURCE_H
#define DIST_IMAGE_SOURCE_H

#include "dist/image.h"
#include "dist/interrupt.h"
#include "dist/layer_source.h"
#include "dist/remote_image.h"

struct image_source_options {
	const char *root, *platform;
	struct remote remote;
	bool no_fetch; /* what is not in the store is an error */
};

/* For the long options of a command: { IMAGE_SOURCE_OPTIONS, {"json", ...}, {0} } */
/* clang-format off */
#define IMAGE_SOURCE_OPTIONS                          \
	{"root", required_argument, NULL, 'r'},       \
	{"platform", required_argument, NULL, 'P'},   \
	{"no-fetch", no_argument, NULL, 'N'},         \
	REMOTE_OPTIONS
/* clang-format on */

/* As remote_init(), remote_option(). */
int image_source_options_init(const struct cli_program *p, struct image_source_options *ret);
int image_source_option(const struct cli_program *p, struct image_source_options *options, int o);

struct image_source {
	struct layer_source source;
	struct image image; /* with its config */
	struct store *store;
	bool is_remote;
	struct remote_image remote;
	struct store_layers local;
	struct layer_source *layers;  /* of these two */
	struct unpack_source current; /* of the layer that is open */
	struct interrupt interrupt;
};

/*
 * @options  borrowed until image_source_close()
 * @text     a name or digest
 *
 * Returns 0, or as store_open(), image_open(), image_load_config(), remote_image_open(). On
 * failure *ret is as image_source_close() leaves it.
 */
int image_source_open(const struct image_source_options *options, const char *text,
		      struct image_source *ret, struct err *err);

void image_source_hold(struct image_source *s);

/* All is unpacked: 0, -EINTR (a signal came) or as remote_image_finish(). */
int image_source_finish(struct image_source *s, struct err *err);

/* May be called again. Does not return when a signal came. */
void image_source_close(struct image_source *s);

#endif
