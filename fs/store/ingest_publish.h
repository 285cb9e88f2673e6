/*
 * The last step of a commit: verified data gets its name. Private to ingest.c.
 */
#ifndef STORE_INGEST_PUBLISH_H
#define STORE_INGEST_PUBLISH_H

#include <stdbool.h>

#include "base/digest.h"
#include "base/err.h"
#include "store/ingest_dir.h"

/*
 * Make data (data_fd, verified to be d) the blob d, durably. When the blob is there already the
 * bytes stay where they are, for the caller to drop.
 *
 * On failure data is under its own name again, and writable; *ret_spoilt is set when its bytes
 * may be lost (fsync failed), else left alone.
 */
int ingest_publish(struct store *s, struct ingest_dir *dir, int data_fd, const struct digest *d,
		   bool *ret_spoilt, struct err *err);

#endif
