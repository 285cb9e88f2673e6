/*
 * The journal of a container in its shim's directory: each record is in it before anybody is told
 * of what it says, so that a shim that is started after another was killed knows all that was told.
 *
 *   journal_open (calls back for each record that is there) -> journal_append ... -> journal_close
 *
 * It has to outlive the shim, not the machine: a reboot ends every container. So nothing is synced,
 * and a write that was cut short by a full disk is mended by writing it all anew.
 *
 * Threads: none.
 */
#ifndef SHIM_JOURNAL_H
#define SHIM_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "shim/record.h"

struct journal {
	int dir_fd; /* borrowed */
	int fd;
	size_t bytes, bytes_anew; /* now, and when it was written anew */
};

/*
 * Open "journal" in dir_fd, or make it, and read what is there: taken(r, ctx) for each record,
 * whose strings last as long as the call. Lines that are none, and an end that is none, are
 * passed over and counted. Returns their number, or a negative errno.
 */
int journal_open(struct journal *j, int dir_fd, void (*taken)(const struct record *r, void *ctx),
		 void *ctx, struct err *err);
/* Returns 0 or a negative errno; then the record is not in it. */
int journal_append(struct journal *j, const struct record *r);

/* It has grown so much that it should be written anew. */
bool journal_is_long(const struct journal *j);
/* Replace it by these lines, whole or not at all. 0 or a negative errno. */
int journal_replace(struct journal *j, const struct buf *lines);

void journal_close(struct journal *j);
/* Close it and remove it. */
void journal_remove(struct journal *j);

#endif
