/*
 * What libfuse and fusermount3 print on stderr while a mount is made: the reason, of which they
 * return none. Caught, so that it is told once, in our error's line.
 *
 *   printed_begin -> fuse_session_mount ... -> printed_fail (into an error's text)
 *                                           -> printed_pass (it went well: on to stderr)
 *
 * What libfuse has to say afterwards goes to the log.
 *
 * Threads: the process's stderr is taken meanwhile; before there are others, that is.
 */
#ifndef MOUNT_PRINTED_H
#define MOUNT_PRINTED_H

#include <stddef.h>

struct printed {
	int stderr_fd; /* the real one; -1: nothing is caught */
	int text_fd;
};

void printed_begin(struct printed *p);
void printed_pass(struct printed *p);

/* The last line that was printed into out, "" when there was none. */
void printed_fail(struct printed *p, char *out, size_t n);

#endif
