/*
 * What an image is made of: its manifests, configs and layers, found by reading the manifests
 * that are in a store, or that somebody puts there when they are asked for.
 *
 *   struct objects list = {0}; objects_collect(...) -> list.v[0 .. list.n) -> objects_done(&list)
 *
 * Threads: one at a time.
 */
#ifndef DIST_OBJECTS_H
#define DIST_OBJECTS_H

#include "oci/manifest.h"
#include "store/layout.h"

#define OBJECTS_MAX 8192

enum object_kind { OBJECT_LAYER, OBJECT_CONFIG, OBJECT_MANIFEST, OBJECT_BLOB };

struct object {
	enum object_kind kind;
	struct descriptor d; /* without urls */
};

struct objects {
	struct object *v; /* each digest once; a manifest comes after all that it names */
	size_t n, cap;
	struct platform
		platform; /* of the image chosen from an index; os "": there was no choice */
};

struct objects_question {
	struct store *store;
	const struct platform *want; /* of an index: the one that suits it; NULL: all */
	/* Called for each manifest before it is read; returns 0 when the store has it. */
	int (*have)(void *arg, const struct descriptor *d, struct err *err);
	void *arg;
};

/*
 * Everything that top, a manifest or index, needs. Layers that no registry holds (foreign ones)
 * are left out.
 *
 * Returns 0, or
 *   -ENOENT   an index has nothing for the platform; the message names what it has
 *   -EBADMSG  a manifest is none, or another size than its descriptor says
 *   -E2BIG    more than OBJECTS_MAX, or indexes too deep
 *   other     what have() returned, or from reading
 */
int objects_collect(const struct objects_question *q, const struct descriptor *top,
		    struct objects *ret, struct err *err);

void objects_done(struct objects *list);

/* "layer", "config", "manifest", "blob" (by itself) */
const char *object_kind_name(enum object_kind kind);

#endif
