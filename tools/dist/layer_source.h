/*
 * Where the bytes of an image's layers come from: a store, or something that fetches them while
 * they are read.
 *
 *   ls->open(ls, d, &stream) -> read stream.src to its end -> stream.close(&stream)
 *
 * The reader checks digests: a source need not.
 *
 * Threads: open() and close() by one thread, stream.src as struct unpack_source says.
 */
#ifndef DIST_LAYER_SOURCE_H
#define DIST_LAYER_SOURCE_H

#include "oci/descriptor.h"
#include "store/layout.h"
#include "unpack/unpack.h"

struct layer_stream {
	struct unpack_source src;
	void (*close)(struct layer_stream *st);
	void *impl; /* the source's */
	struct unpack_fd fd;
};

struct layer_source {
	/* Begin reading the layer of d. Returns 0 or an error of the source's. */
	int (*open)(struct layer_source *ls, const struct descriptor *d, struct layer_stream *ret,
		    struct err *err);
	/* NULL, or: d will be opened next, so that work for it may begin. */
	void (*prepare)(struct layer_source *ls, const struct descriptor *d);
};

/* The blobs of a store, which is borrowed. open() is -ENOENT for one that is not there. */
struct store_layers {
	struct layer_source source;
	struct store *store;
};

void store_layers_init(struct store_layers *l, struct store *s);

#endif
