/*
 * Bytes of a client into the server's end of HTTP/2. The first byte of an input says whether the
 * preface is put in front (so that the fuzzer need not find it), and how the bytes are cut.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "rpc/h2_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	size_t n_requests, n_closed;
};

/* Half of the calls are answered at once with a message, others fail, are streams, or wait. */
static void on_request(struct h2_stream *st, void *ctx)
{
	struct seen *seen = ctx;
	size_t len;
	const uint8_t *m = h2_stream_message(st, &len);
	uint8_t sum = (uint8_t)strlen(h2_stream_path(st));
	uint8_t *p;

	seen->n_requests++;
	for (size_t i = 0; i < len; i++)
		sum ^= m[i];
	h2_stream_drop_message(st);
	switch (sum & 3) {
	case 0:
		h2_stream_end(st, RPC_NOT_FOUND, "100% not there\n");
		return;
	case 1:
		(void)h2_stream_begin(st);
		h2_stream_wants_room(st);
		return;
	default:
		p = h2_stream_add(st, sum);
		if (p != NULL)
			memset(p, sum, sum);
		if ((sum & 4) != 0)
			h2_stream_end(st, RPC_OK, NULL);
		else
			h2_stream_wants_room(st);
	}
}

static void on_closed(struct h2_stream *st, void *ctx)
{
	(void)st;
	((struct seen *)ctx)->n_closed++;
}

static void on_room(struct h2_stream *st, void *ctx)
{
	(void)ctx;
	h2_stream_end(st, RPC_OK, NULL);
}

static int feed(struct h2_server *h, const uint8_t *p, size_t n, size_t cut, struct buf *out)
{
	for (size_t at = 0; at < n; at += cut) {
		int r = h2_server_recv(h, p + at, n - at < cut ? n - at : cut, at);

		while (h2_server_dispatch(h))
			;
		out->len = 0;
		if (r < 0 || h2_server_send(h, out, 1 << 20) < 0)
			return -1;
		if (h2_server_is_over(h))
			return -1;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	static const struct h2_server_ops ops = {on_request, on_closed, on_room};
	struct h2_budget budget = {.max = 4096};
	const struct h2_server_limits limits = {.max_streams = 8,
						.max_header_bytes = 1024,
						.max_message_bytes = 2048,
						.budget = &budget};
	struct h2_server *h;
	struct seen seen = {0};
	cleanup_buf struct buf out;
	uint64_t next;
	size_t cut;
	int r = 0;

	buf_init(&out, 4 << 20);
	if (size == 0 || h2_server_new(&limits, &ops, &seen, &h) < 0)
		return 0;
	cut = (data[0] & 0x7f) == 0 ? size : data[0] & 0x7f;
	if ((data[0] & 0x80) == 0)
		r = feed(h, preface, sizeof(preface) - 1, sizeof(preface), &out);
	if (r == 0)
		r = feed(h, data + 1, size - 1, cut, &out);
	if (r == 0) {
		h2_server_expire(h, UINT64_MAX, &next);
		h2_server_goaway(h);
		(void)h2_server_send(h, &out, 1 << 20);
		while (h2_server_dispatch(h))
			;
	}
	assert(seen.n_closed <= seen.n_requests);
	assert(budget.used <= budget.max);
	h = h2_server_free(h);
	assert(budget.used == 0);
	return 0;
}
