/*
 * Our standard streams joined to those of a process in the container, until it has ended.
 *
 *   fifos_make -> Create or Exec -> attach_begin -> (Start) -> attach_run -> exit status
 *
 * With a terminal ours is raw meanwhile and its size goes along (at once, and on SIGWINCH). The end
 * of our stdin is the end of the process's (CloseIO). SIGINT, SIGTERM and SIGQUIT go to the
 * process; the third of one kind, and SIGHUP, end the attachment and leave the process alone. When
 * our stdout is closed the process gets a SIGPIPE, as it would have had without us in between.
 *
 * Threads: none; signals are blocked in between.
 */
#ifndef SHIMCTL_ATTACH_H
#define SHIMCTL_ATTACH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "rpc/client.h"
#include "shimctl/fifos.h"

struct attach {
	struct rpc_client *client;
	struct fifos *fifos;
	uint32_t pid;
	int signal_fd;
	sigset_t old_mask;
	unsigned int n_signals[65]; /* of each kind */
	bool raw;		    /* our terminal is */
	/* from us to the process */
	bool in_eof;
	uint8_t in_bytes[4096];
	size_t in_from, in_to;
	/* the end */
	struct rpc_client_call *wait; /* NULL: it is over */
	bool waited;		      /* Wait has answered: */
	bool lost;		      /* nobody knows the exit status */
	uint32_t status;	      /* the exit status */
	int wait_error;		      /* negative errno: Wait failed */
	int detached;		      /* by this signal; 0: not */
	bool out_broken;	      /* nobody takes our output */
	uint64_t quiet_since_ms;
	struct err err;
};

/* Ask for the exit of pid, block signals, make the terminal raw. attach_end() undoes it. */
int attach_begin(struct attach *a, struct rpc_client *client, struct fifos *fifos, uint32_t pid,
		 struct err *err);

/*
 * Copy until the process has ended and its output is here.
 * Returns 0 and the exit status of the process in *ret_status (255 with a text in err->msg where it
 * is lost, 128 + signal where a signal detached us), or the negative errno of the connection.
 */
int attach_run(struct attach *a, int *ret_status, struct err *err);

void attach_end(struct attach *a);

#endif
