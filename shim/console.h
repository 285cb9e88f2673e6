/*
 * The socket by which a runtime hands over the master of a terminal that it made (the
 * --console-socket of runc and crun): one connection, one message, one descriptor.
 *
 *   console_listen -> (the runtime runs, told of console->path) -> console_take -> console_close
 *
 * Nothing needs to be accepted while the runtime runs: connection and message wait in the kernel.
 *
 * Threads: none.
 */
#ifndef SHIM_CONSOLE_H
#define SHIM_CONSOLE_H

#include <stdint.h>

#include "base/err.h"

struct console {
	int dir_fd; /* borrowed */
	int listen_fd;
	char name[24];
	/* By our descriptor of the directory, so that it is short enough for a sockaddr_un. */
	char path[64];
};

/* Make the socket <serial>.pty in dir_fd. 0 or a negative errno, then c needs no closing. */
int console_listen(struct console *c, int dir_fd, uint32_t serial, struct err *err);

/*
 * The master that the runtime has sent, non-blocking, the caller's. -ENOTTY when it has sent
 * nothing, or something that is no terminal.
 */
int console_take(struct console *c, int *ret_fd, struct err *err);

/* Remove the socket. May be called twice. */
void console_close(struct console *c);

#endif
