/*
 * Blobs hashed again as they lie on the disk, and damaged ones set aside.
 *
 * Threads: any; one blob by one thread at a time.
 */
#ifndef STORE_SCRUB_H
#define STORE_SCRUB_H

#include <stdint.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "store/layout.h"

struct scrub_result {
	struct stat st;	      /* of the file that was read */
	struct digest actual; /* what its bytes hash to */
	uint64_t bytes;	      /* read */
};

/*
 * Hash blob d, from the disk where the kernel lets its cached pages go.
 *
 * Returns 0 (the bytes match), or
 *   -EBADMSG  they do not; ret->actual tells
 *   -ENOENT   no such blob
 *   other     from open(2), read(2): -EIO where the medium is bad
 * ret->st and ret->bytes are set unless the blob could not be opened.
 */
int scrub_blob(struct store *s, const struct digest *d, struct scrub_result *ret);

/*
 * Move the file that scrub_blob() found to <root>/quarantine/sha256/<hex>, durably; where that
 * name is taken, to <hex>.1 and so on. -ENOENT when another file has the blob's name by now, or
 * that one was written since: then it stays.
 */
int scrub_quarantine(struct store *s, const struct digest *d, const struct scrub_result *found);

#endif
