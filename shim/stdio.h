/*
 * What a process of the container reads from and writes to: fifos that a client has made.
 *
 *   stdio_open -> (the runtime runs with child_fds) -> stdio_launched -> stdio_ended -> stdio_close
 *
 * Without a terminal the process gets the fifos themselves, and no byte passes through the shim:
 * the ends of its output are opened for reading as well, so that a client that detaches is no
 * SIGPIPE to it and what a pipe holds is kept for the next one. That also outlives the shim. A
 * reader that is slow, or never reads, makes its own writer wait and nobody else.
 *
 * With a terminal its master is copied from and to the fifos.
 *
 * The shim itself keeps the writing end of stdin, so that a client may come and go (until
 * stdio_close_in()), and reading ends of the output, so that what was written last is still
 * there for a client that comes after the end of the process. Neither delays an end of file:
 * the reader sees it once the last process that writes is gone.
 *
 * Fifos are opened without ever waiting for their other end.
 *
 * Threads: none.
 */
#ifndef SHIM_STDIO_H
#define SHIM_STDIO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "shim/keep_wire.h"
#include "shim/loop.h"

struct terminal;

/* "" or NULL: none, the process gets /dev/null. */
struct stdio_paths {
	const char *in, *out, *err;
	bool terminal; /* err is not looked at */
};

struct stdio {
	struct loop *loop;
	int child_fds[3]; /* for the process; -1: /dev/null */
	int in_hold_fd, out_hold_fd, err_hold_fd;
	struct terminal *terminal; /* NULL: has none, or it is lost */
	/* Of a terminal, once: all that the process wrote is where it belongs. May be NULL. */
	void (*on_drained)(struct stdio *s);
	void *data;
};

/*
 * Open what is named. -ENOENT, -EACCES and the like from open(2), -EINVAL for a path that is no
 * fifo; the message names it. On failure nothing is left open.
 */
int stdio_open(struct stdio *s, struct loop *loop, const struct stdio_paths *paths,
	       struct err *err);
/*
 * The same for a process that has its ends already; what is not there any more is done without.
 * fds: what was kept of it, ours from here on. Without the end of stdin that is among them, no
 * more can come.
 */
void stdio_reopen(struct stdio *s, struct loop *loop, const struct stdio_paths *paths,
		  int fds[KEEP_SLOTS]);

/* The process has its ends: ours of child_fds are closed. */
void stdio_launched(struct stdio *s);
/* Copy from and to a terminal, whose master (non-blocking) is ours from here on. */
int stdio_use_terminal(struct stdio *s, int master_fd, const struct stdio_paths *paths,
		       struct err *err);

/* -ENOTTY when the terminal is lost; 0 and nothing happens where there is none. */
int stdio_set_size(struct stdio *s, bool terminal, uint16_t width, uint16_t height);
/* What must stay open beyond the death of the shim, which goes on to own it. */
void stdio_kept_fds(const struct stdio *s, int fds[KEEP_SLOTS]);
/* No more input. To a terminal the character for an end of file goes, when it minds that. */
void stdio_close_in(struct stdio *s);

/* The process has ended. */
void stdio_ended(struct stdio *s);
/* Nothing that the process wrote is still on its way through the shim. */
bool stdio_is_drained(const struct stdio *s);
/* Close the reading ends of output that is read already; whether any was kept. */
bool stdio_release_read(struct stdio *s);

void stdio_close(struct stdio *s);

#endif
