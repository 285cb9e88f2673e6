#include "rpc/frames.h"

#include <errno.h>

void rpc_frames_init(struct rpc_frames *f, size_t max_message_bytes)
{
	*f = (struct rpc_frames){.max_message_bytes = max_message_bytes};
	/* What was taken goes before more is added, so the bound is one message and one read. */
	buf_init(&f->bytes, SIZE_MAX / 2);
}

void rpc_frames_done(struct rpc_frames *f)
{
	buf_done(&f->bytes);
	f->taken = 0;
}

int rpc_frames_add(struct rpc_frames *f, const void *p, size_t n)
{
	if (f->taken == f->bytes.len && f->taken > 0)
		buf_done(&f->bytes);
	else if (f->taken > 0)
		buf_consume(&f->bytes, f->taken);
	f->taken = 0;
	return buf_add(&f->bytes, p, n);
}

int rpc_frames_next(struct rpc_frames *f, const uint8_t **ret, size_t *ret_len)
{
	const uint8_t *p = (const uint8_t *)f->bytes.data + f->taken;
	size_t have = rpc_frames_rest(f);
	uint32_t len;

	if (have < RPC_FRAME_HEADER_BYTES)
		return 0;
	if (p[0] != 0)
		return -EOPNOTSUPP;
	len = rpc_frame_len(p);
	if (len > f->max_message_bytes)
		return -E2BIG;
	if (have - RPC_FRAME_HEADER_BYTES < len)
		return 0;
	*ret = p + RPC_FRAME_HEADER_BYTES;
	*ret_len = len;
	f->taken += RPC_FRAME_HEADER_BYTES + len;
	return 1;
}

size_t rpc_frames_rest(const struct rpc_frames *f)
{
	return f->bytes.len - f->taken;
}

void rpc_frame_header(uint32_t len, uint8_t *out)
{
	out[0] = 0; /* not compressed */
	out[1] = (uint8_t)(len >> 24);
	out[2] = (uint8_t)(len >> 16);
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
}

uint32_t rpc_frame_len(const uint8_t *header)
{
	return (uint32_t)header[1] << 24 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 8 |
	       header[4];
}
