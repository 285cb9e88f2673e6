/*
 * What the files of this room share behind layout.h.
 */
#ifndef STORE_STORE_PRIVATE_H
#define STORE_STORE_PRIVATE_H

#include <stdbool.h>

#include "base/cleanup.h"
#include "store/layout.h"

/* Nothing changes between store_open() and store_close(). */
struct store {
	char *root; /* absolute */
	int root_fd;
	int blobs_fd;  /* blobs/sha256, -1: absent */
	int ingest_fd; /* ingest, -1: absent */
	bool rdonly;
};

CLEANUP_DEFINE(struct store *, store_close);

/*
 * The lock of who changes labels: a descriptor to close, -EBUSY, or from the file system. While it
 * is held no blob is claimed or pinned.
 */
int label_lock(struct store *s);

#endif
