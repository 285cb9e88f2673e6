/*
 * An image on its way from a registry into a store: manifests and config first, then its layers,
 * which can be read while they arrive.
 *
 *   remote_image_open -> read layers through ri->source -> remote_image_finish
 *                     -> remote_image_close
 *
 * From the first layer that is opened on, the layers that the store lacks are fetched in the
 * manifest's order, a few at once; so the next are on their way while one is read. Fills are shared
 * with other processes and go on where an earlier one was left (fill.h). What is read of a layer is
 * unverified until its end: there -EBADMSG comes instead when its digest was another.
 *
 * Threads: main only; remote_image_stop() from any.
 */
#ifndef DIST_REMOTE_IMAGE_H
#define DIST_REMOTE_IMAGE_H

#include "dist/layer_source.h"
#include "dist/objects.h"
#include "dist/remote.h"
#include "fill/fill.h"
#include "store/image_index.h"

struct layer_fetch;

struct remote_image {
	struct layer_source source;
	struct image_entry entry;	   /* what the name stands for */
	bool is_named;			   /* the store has that name already */
	char from[REFERENCE_NAME_MAX + 1]; /* "host/repository"; "": whoever the store knows */
	const struct remote *remote;
	struct store *store;
	struct registry *registry;
	struct fill *fill;
	struct objects objects;
	struct store_layers local;
	struct workqueue *queue;
	struct layer_fetch *fetches;
	size_t n_fetches;
};

/*
 * Find the image and have its manifests, for the platform wanted, and its config in the store. A
 * name or digest that the store knows is not asked for again.
 *
 * @s     writable; borrowed, as is re, until remote_image_close()
 * @text  a name or digest
 *
 * Returns 0, or as reference_parse(), remote_resolve(), objects_collect(), fill_get(). On failure
 * *ret is as remote_image_close() leaves it.
 */
int remote_image_open(struct store *s, const struct remote *re, const char *text,
		      const struct platform *want, struct remote_image *ret, struct err *err);

/* Wait until the store has all layers, then give the image its name there. As fill_get(). */
int remote_image_finish(struct remote_image *ri, struct err *err);

/* Whoever waits for bytes gets -EINTR; what has arrived stays. */
void remote_image_stop(struct remote_image *ri);

void remote_image_close(struct remote_image *ri);

#endif
