/*
 * What happened to a container, one thing each: a line of the journal, a step of the task.
 *
 * As text: a letter, then fields separated by tabs; strings as rpc_message_encode() writes them,
 * so that a line holds none but printable characters.
 *
 * Threads: pure functions.
 */
#ifndef SHIM_RECORD_H
#define SHIM_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

enum record_kind {
	RECORD_BOOT,	 /* id: of the machine's boot, text: our version of this format */
	RECORD_CREATE,	 /* a container is going to be created */
	RECORD_EXEC,	 /* a process is going to be executed */
	RECORD_LAUNCHED, /* and it has a pid */
	RECORD_FAILED,	 /* and it came to nothing */
	RECORD_STARTED,
	RECORD_PAUSED,
	RECORD_RESUMED,
	RECORD_OOM,
	RECORD_ENDED, /* a process did (pid, status), though its turn has not come */
	RECORD_EXIT,
	RECORD_DELETED,
	/* In a journal that was written anew: */
	RECORD_NUMBER, /* number: of the next event */
	RECORD_EVENT,  /* an event that is remembered; type, pid, status, lost, at_ns */
	RECORD_QUIET,  /* number 1: what follows makes no events, 0: it does again */
	RECORD_KINDS,
};

struct record {
	enum record_kind kind;
	int64_t at_ns;
	uint32_t serial; /* of the process: 0 init, then 1, 2, 3 ... */
	pid_t pid;
	uint64_t starttime; /* of the pid, 0: not known */
	uint64_t number;
	uint32_t type;
	uint32_t status;
	bool lost;
	bool shares_pids; /* the container has no pid namespace of its own */
	bool no_pivot, terminal;
	/* NULL is written, and read back, as "". */
	const char *id, *bundle, *runtime;
	const char *in, *out, *err;
};

/* Append the line and its newline. 0, -E2BIG or -ENOMEM; then b is unchanged. */
int record_write(const struct record *r, struct buf *b);

/*
 * Read a line of n bytes, without its newline. Strings are decoded into text, and live as long as
 * that. Returns 0, -EBADMSG for a line that is none of ours, or -ENOMEM.
 */
int record_read(const char *line, size_t n, struct record *ret, struct buf *text);

#endif
