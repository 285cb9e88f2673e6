/*
 * Between a shim and its keeper: messages that carry descriptors, on a SOCK_SEQPACKET socket.
 *
 * Threads: none.
 */
#ifndef SHIM_KEEP_WIRE_H
#define SHIM_KEEP_WIRE_H

#include <stdint.h>

/* What may be kept for a process. */
enum keep_slot {
	KEEP_MASTER, /* of its terminal */
	KEEP_IN,     /* the end of its stdin's fifo that makes it last */
	KEEP_OUT,    /* of a terminal: the fifo where its output goes */
	KEEP_SLOTS,
};

enum keep_kind {
	KEEP_PUT,  /* keep these (either way: what is kept) */
	KEEP_DROP, /* close these */
	KEEP_DONE, /* that was all that is kept; serial: the keeper's pid */
};

struct keep_message {
	uint32_t kind;
	uint32_t serial; /* of the process */
	uint32_t slots;	 /* 1 << enum keep_slot; descriptors come with KEEP_PUT alone */
};

/* fds: of each slot, -1 for none; may be NULL. flags of sendmsg(2). 0 or a negative errno. */
int keep_send(int fd, const struct keep_message *m, const int fds[KEEP_SLOTS], int flags);

/*
 * Receive one; of each slot there is a descriptor in fds, or -1. Returns 0, -EPIPE at the end,
 * -EBADMSG for what is no message of ours, or a negative errno; then nothing is open.
 */
int keep_receive(int fd, struct keep_message *ret, int fds[KEEP_SLOTS]);

void keep_close_fds(int fds[KEEP_SLOTS]);

#endif
