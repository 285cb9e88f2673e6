/*
 * gRPC's framing of messages: a flag byte, four bytes of length (big endian), the message.
 *
 *   rpc_frames_init -> rpc_frames_add(bytes) -> rpc_frames_next ... -> rpc_frames_done
 *
 * Threads: one at a time.
 */
#ifndef RPC_FRAMES_H
#define RPC_FRAMES_H

#include <stdint.h>

#include "base/buf.h"

enum { RPC_FRAME_HEADER_BYTES = 5 };

struct rpc_frames {
	struct buf bytes; /* what came and was not taken by the next rpc_frames_add() */
	size_t taken;	  /* of bytes */
	size_t max_message_bytes;
};

void rpc_frames_init(struct rpc_frames *f, size_t max_message_bytes);
void rpc_frames_done(struct rpc_frames *f);

/*
 * Add bytes as they come. What is kept is bounded by one message of the greatest size and n: the
 * caller takes what is complete before it adds more.
 * Returns 0 or -ENOMEM.
 */
int rpc_frames_add(struct rpc_frames *f, const void *p, size_t n);

/*
 * The next whole message; *ret is valid until the next rpc_frames_add() or _done().
 * Returns 1, 0 when more bytes are needed, or, known from the header alone,
 *   -E2BIG        over max_message_bytes
 *   -EOPNOTSUPP   compressed
 */
int rpc_frames_next(struct rpc_frames *f, const uint8_t **ret, size_t *ret_len);

/* Bytes that are not taken: 0 between messages. */
size_t rpc_frames_rest(const struct rpc_frames *f);

/* Write the header of a message of len bytes to out[RPC_FRAME_HEADER_BYTES]. */
void rpc_frame_header(uint32_t len, uint8_t *out);
/* The length that such a header tells. */
uint32_t rpc_frame_len(const uint8_t *header);

#endif
