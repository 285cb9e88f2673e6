/*
 * gRPC status codes, and how they meet errno.
 *
 * Threads: pure functions.
 */
#ifndef RPC_STATUS_H
#define RPC_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* doc/statuscodes.md of gRPC */
enum rpc_status {
	RPC_OK = 0,
	RPC_CANCELLED = 1,
	RPC_UNKNOWN = 2,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_ALREADY_EXISTS = 6,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_ABORTED = 10,
	RPC_OUT_OF_RANGE = 11,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
	RPC_DATA_LOSS = 15,
	RPC_UNAUTHENTICATED = 16,
};

/* "NOT_FOUND"; "UNKNOWN" for a number that has no name. */
const char *rpc_status_name(unsigned int status);

/*
 * The status of a negative errno (0 gives RPC_OK):
 *   ENOENT ESRCH NOT_FOUND, EEXIST ALREADY_EXISTS, EINVAL ENOTTY INVALID_ARGUMENT,
 *   EPERM EACCES PERMISSION_DENIED, EBUSY EALREADY FAILED_PRECONDITION,
 *   ENOMEM E2BIG ENOSPC EMFILE RESOURCE_EXHAUSTED, ETIMEDOUT DEADLINE_EXCEEDED,
 *   ECANCELED CANCELLED, EOPNOTSUPP ENOSYS UNIMPLEMENTED, EPIPE ECONNREFUSED UNAVAILABLE,
 *   EBADMSG EPROTO INTERNAL, all others UNKNOWN
 */
enum rpc_status rpc_status_from_errno(int r);

/* The way back, for clients: a negative errno, 0 for RPC_OK; -EREMOTEIO for UNKNOWN. */
int rpc_status_to_errno(unsigned int status);

/*
 * grpc-message on the wire: percent-encoded bytes outside of printable ASCII, and '%' itself.
 * Both append to out and return 0, -E2BIG or -ENOMEM; decoding leaves a broken escape as it is.
 */
int rpc_message_encode(const char *s, struct buf *out);
int rpc_message_decode(const char *s, size_t n, struct buf *out);

/*
 * grpc-timeout: at most eight digits and a unit of H M S m u n. Parsing: nanoseconds are rounded
 * up to milliseconds, so that a short timeout is not none. 0 or -EINVAL.
 */
int rpc_timeout_parse(const char *s, size_t n, uint64_t *ret_ms);
/* Into out[16], in the finest unit that has room. */
void rpc_timeout_format(uint64_t ms, char *out);

#endif
