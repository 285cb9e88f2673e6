/*
 * All blobs that something in the store is made of: what was asked for and, where it is a manifest
 * or an index, whatever that names, and so on, as far as the manifests are here.
 *
 * Threads: main only.
 */
#ifndef DIST_IMAGE_PARTS_H
#define DIST_IMAGE_PARTS_H

#include "base/digest.h"
#include "base/err.h"
#include "store/layout.h"

/*
 * fn is called for root first, then for each part, for some more than once; what it returns other
 * than 0 ends the walk and is returned. Blobs need not be here. Returns 0, -EBADMSG (a manifest's
 * bytes are not its digest's), -E2BIG (indexes nested too deeply), -ENOMEM or from open(2),
 * read(2).
 */
int image_parts(struct store *s, const struct digest *root,
		int (*fn)(void *arg, const struct digest *d), void *arg, struct err *err);

#endif
