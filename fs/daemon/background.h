/*
 * A daemon that returns to its caller when it is ready to be used, with its fate as the exit
 * status.
 *
 *   background_start (forks, unless foreground) -> ... -> background_ready -> ...
 *
 * In the foreground, $READY_FD names a descriptor that gets the byte "1" and is closed instead,
 * so that a supervisor or a test need not poll.
 *
 * Threads: start before any; ready from any, once.
 */
#ifndef DAEMON_BACKGROUND_H
#define DAEMON_BACKGROUND_H

#include <stdbool.h>

/*
 * Returns in the process that is to do the work: 0, or a negative errno. The parent waits for
 * background_ready() and exits 0, or for the child's end and exits with its status.
 */
int background_start(bool foreground);

/* The work is usable: let the caller go, detach from its terminal. */
void background_ready(void);

#endif
