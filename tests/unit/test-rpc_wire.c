/*
 * The server byte by byte: what clients of other makes put on the wire, and what nobody should.
 */
#include <nghttp2/nghttp2.h>

#include "lib/test.h"

#include "base/buf.h"
#include "lib/rpc_fixture.h"
#include "rpc/h2_util.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum {
	DATA = 0,
	HEADERS = 1,
	RST_STREAM = 3,
	SETTINGS = 4,
	PING = 6,
	GOAWAY = 7,
	WINDOW_UPDATE = 8
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

/* One end of a connection: frames out by hand, frames in taken apart. */
struct wire {
	struct fixture f;
	int fd;
	nghttp2_hd_deflater *deflater;
	nghttp2_hd_inflater *inflater;
	struct buf out;
	struct buf in;
	bool hung_up;
	/* what came */
	char frames[256]; /* "S" settings, "s" their ack, "H" headers, "D" data, ... in order */
	int http_status, grpc_status, messages, ping_acks;
	uint32_t rst_code, goaway_code;
	char grpc_message[200];
	uint8_t data[64];
	size_t n_data;
};

static int wire_init(struct wire *w, const struct rpc_limits *limits)
{
	*w = (struct wire){.http_status = -1, .grpc_status = -1};
	buf_init(&w->out, 1 << 20);
	buf_init(&w->in, 1 << 20);
	if (nghttp2_hd_deflate_new(&w->deflater, 4096) != 0 ||
	    nghttp2_hd_inflate_new(&w->inflater) != 0)
		return -ENOMEM;
	if (fixture_init(&w->f, limits) < 0)
		return -ENOMEM;
	w->f.end_when_gone = true;
	w->fd = fixture_socket(&w->f);
	return w->fd >= 0 ? 0 : -1;
}

static void wire_done(struct wire *w)
{
	(void)close(w->fd);
	buf_done(&w->out);
	buf_done(&w->in);
	nghttp2_hd_deflate_del(w->deflater);
	nghttp2_hd_inflate_del(w->inflater);
	fixture_done(&w->f);
}

static void frame(struct wire *w, uint8_t type, uint8_t flags, uint32_t stream, const void *p,
		  size_t n)
{
	const uint8_t head[9] = {(uint8_t)(n >> 16),
				 (uint8_t)(n >> 8),
				 (uint8_t)n,
				 type,
				 flags,
				 (uint8_t)(stream >> 24),
				 (uint8_t)(stream >> 16),
				 (uint8_t)(stream >> 8),
				 (uint8_t)stream};

	(void)buf_add(&w->out, head, sizeof(head));
	(void)buf_add(&w->out, p, n);
}

static void headers_frame(struct wire *w, uint32_t stream, uint8_t flags, nghttp2_nv *nv, size_t n)
{
	uint8_t block[32768];
	ssize_t len = nghttp2_hd_deflate_hd(w->deflater, block, sizeof(block), nv, n);

	frame(w, HEADERS, flags | END_HEADERS, stream, block, (size_t)len);
}

/* In the order of grpc-go 1.0.5. */
static void request_headers(struct wire *w, uint32_t stream, const char *path,
			    const char *authority)
{
	nghttp2_nv nv[] = {
		H2_NV(":method", "POST"),
		H2_NV(":scheme", "http"),
		h2_nv(":path", path),
		h2_nv(":authority", authority),
		H2_NV("content-type", "application/grpc"),
		H2_NV("user-agent", "grpc-go/1.0"),
		H2_NV("te", "trailers"),
	};

	headers_frame(w, stream, 0, nv, sizeof(nv) / sizeof(nv[0]));
}

static void opening(struct wire *w)
{
	(void)buf_add(&w->out, PREFACE, sizeof(PREFACE) - 1);
	frame(w, SETTINGS, 0, 0, "", 0);
}

static void take_headers(struct wire *w, const uint8_t *p, size_t n)
{
	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t r = nghttp2_hd_inflate_hd2(w->inflater, &nv, &flags, p, n, 1);

		if (r < 0)
			return;
		p += r;
		n -= (size_t)r;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
			const char *name = (const char *)nv.name, *value = (const char *)nv.value;

			if (strcmp(name, ":status") == 0)
				w->http_status = (int)strtol(value, NULL, 10);
			if (strcmp(name, "grpc-status") == 0)
				w->grpc_status = (int)strtol(value, NULL, 10);
			if (strcmp(name, "grpc-message") == 0)
				(void)snprintf(w->grpc_message, sizeof(w->grpc_message), "%s",
					       value);
		}
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
			(void)nghttp2_hd_inflate_end_headers(w->inflater);
			return;
		}
	}
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void take_frame(struct wire *w, uint8_t type, uint8_t flags, const uint8_t *p, size_t n)
{
	static const char letters[] = "DHPRSUPGWC";
	char letter = type < sizeof(letters) - 1 ? letters[type] : '?';

	if ((type == SETTINGS || type == PING) && (flags & ACK) != 0)
		letter = (char)(letter | 0x20);
	if ((type == HEADERS || type == DATA) && (flags & END_STREAM) != 0)
		letter = type == HEADERS ? 'T' : 'E'; /* T: trailers, as they have to be */
	if (strlen(w->frames) + 1 < sizeof(w->frames) && type != WINDOW_UPDATE)
		(void)strncat(w->frames, &letter, 1);
	if (type == HEADERS)
		take_headers(w, p, n);
	if (type == DATA && n >= 5)
		w->messages++;
	if (type == DATA && n <= sizeof(w->data)) {
		memcpy(w->data, p, n);
		w->n_data = n;
	}
	if (type == PING && (flags & ACK) != 0)
		w->ping_acks += memcmp(p, "pingpong", 8) == 0;
	if (type == RST_STREAM)
		w->rst_code = be32(p);
	if (type == GOAWAY)
		w->goaway_code = be32(p + 4);
}

static void take_frames(struct wire *w)
{
	uint8_t bytes[16384];
	ssize_t n;

	while ((n = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		(void)buf_add(&w->in, bytes, (size_t)n);
	if (n == 0)
		w->hung_up = true;
	while (w->in.len >= 9) {
		const uint8_t *p = (const uint8_t *)w->in.data;
		size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];

		if (w->in.len < 9 + len)
			return;
		take_frame(w, p[3], p[4], p + 9, len);
		buf_consume(&w->in, 9 + len);
	}
}

/* Send what is in out, chunk bytes at a time, and let the server work after each. */
static void send_out(struct wire *w, size_t chunk)
{
	for (size_t at = 0; at < w->out.len; at += chunk) {
		size_t n = w->out.len - at < chunk ? w->out.len - at : chunk;

		if (send(w->fd, w->out.data + at, n, MSG_NOSIGNAL) < 0)
			break;
		test_loop_round(&w->f.loop, 1);
		take_frames(w);
	}
	w->out.len = 0;
}

#define wire_pump(w, cond)                                       \
	do {                                                     \
		uint64_t until_ms_ = clock_mono_ms() + 20000;    \
		while (!(cond) && clock_mono_ms() < until_ms_) { \
			test_loop_round(&(w)->f.loop, 1);        \
			take_frames(w);                          \
		}                                                \
	} while (0)

/* Everything in one write: preface, SETTINGS without entries, WINDOW_UPDATE, HEADERS, DATA. */
static void first_flight(struct wire *w, const char *authority)
{
	opening(w);
	frame(w, WINDOW_UPDATE, 0, 0, "\0\17\0\1", 4);
	request_headers(w, 1, SHIM_PATH("Create"), authority);
	frame(w, DATA, END_STREAM, 1, "\0\0\0\0\4\12\2c1", 9); /* id = "c1" */
}

TEST(the_first_flight_of_an_old_go_client_is_answered_whole)
{
	struct wire w;

	CHECK_EQ(wire_init(&w, NULL), 0);
	first_flight(&w, "unix");
	send_out(&w, w.out.len);
	wire_pump(&w, w.grpc_status >= 0);
	CHECK_STR(w.frames, "SsHDT");
	CHECK_EQ(w.http_status, 200);
	CHECK_EQ(w.grpc_status, 0);
	CHECK_EQ(w.n_data, 7);
	CHECK(memcmp(w.data, "\0\0\0\0\2\10\54", 7) == 0); /* pid = 44 */
	wire_done(&w);
}

TEST(the_cut_of_the_bytes_does_not_matter)
{
	for (size_t chunk = 1; chunk < 40; chunk += 6) {
		struct wire w;

		CHECK_EQ(wire_init(&w, NULL), 0);
		first_flight(&w, "unix");
		send_out(&w, chunk);
		wire_pump(&w, w.grpc_status >= 0);
		CHECK_STR(w.frames, "SsHDT");
		CHECK_EQ(w.grpc_status, 0);
		wire_done(&w);
	}
}

TEST(an_authority_that_is_a_socket_path_is_taken)
{
	static const char *const table[] = {"/run/shim/shim.sock", "%2Frun%2Fs", "",
					    "unix:shim.sock"};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct wire w;

		CHECK_EQ(wire_init(&w, NULL), 0);
		first_flight(&w, table[i]);
		send_out(&w, w.out.len);
		wire_pump(&w, w.grpc_status >= 0);
		CHECK_EQ(w.grpc_status, 0);
		wire_done(&w);
	}
}

TEST(an_empty_message_is_a_message_and_none_is_not)
{
	static const struct {
		const char *bytes;
		size_t n;
		int status;
	} table[] = {
		{"\0\0\0\0\0", 5, RPC_OK},
		{"", 0, RPC_INTERNAL},
		{"\0\0\0", 3, RPC_INTERNAL},
		{"\0\0\0\0\5\12", 6, RPC_INTERNAL},	       /* cut off */
		{"\0\0\0\0\0\0\0\0\0\0", 10, RPC_INTERNAL},    /* two */
		{"\0\0\0\0\2\12\77", 7, RPC_INVALID_ARGUMENT}, /* no CreateRequest */
		{"\1\0\0\0\0", 5, RPC_UNIMPLEMENTED},	       /* compressed */
		{"\0\377\377\377\377", 5, RPC_RESOURCE_EXHAUSTED},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct wire w;

		CHECK_EQ(wire_init(&w, NULL), 0);
		opening(&w);
		request_headers(&w, 1, SHIM_PATH("Create"), "unix");
		frame(&w, DATA, END_STREAM, 1, table[i].bytes, table[i].n);
		send_out(&w, w.out.len);
		wire_pump(&w, w.grpc_status >= 0);
		CHECK_EQ(w.grpc_status, table[i].status);
		CHECK_EQ(w.http_status, 200);
		wire_done(&w);
	}
}

TEST(a_request_that_is_refused_early_is_told_to_stop)
{
	struct wire w;

	CHECK_EQ(wire_init(&w, NULL), 0);
	opening(&w);
	request_headers(&w, 1, SHIM_PATH("Create"), "unix");
	frame(&w, DATA, 0, 1, "\0\177\377\377\377", 5); /* and no end */
	send_out(&w, w.out.len);
	wire_pump(&w, strchr(w.frames, 'R') != NULL);
	CHECK_STR(w.frames, "SsTR");
	CHECK_EQ(w.grpc_status, RPC_RESOURCE_EXHAUSTED);
	CHECK_EQ(w.rst_code, NGHTTP2_NO_ERROR);
	wire_done(&w);
}

TEST(headers_that_are_not_of_a_call_are_refused)
{
	static const struct {
		nghttp2_nv nv[6];
		size_t n;
		int http_status; /* -1: the stream is reset */
	} table[] = {
		{{H2_NV(":method", "POST"), H2_NV(":scheme", "http"), H2_NV(":path", "/x"),
		  H2_NV("content-type", "text/html")},
		 4,
		 415},
		{{H2_NV(":method", "POST"), H2_NV(":scheme", "http"), H2_NV(":path", "/x")},
		 3,
		 415},
		{{H2_NV(":method", "GET"), H2_NV(":scheme", "http"), H2_NV(":path", "/x"),
		  H2_NV("content-type", "application/grpc")},
		 4,
		 200},
		{{H2_NV(":method", "POST"), H2_NV(":scheme", "http"),
		  H2_NV("content-type", "application/grpc")},
		 3,
		 -1},
		{{H2_NV(":method", "POST"), H2_NV(":scheme", "http"), H2_NV(":path", "/x"),
		  H2_NV(":path", "/y")},
		 4,
		 -1},
		{{H2_NV(":method", "POST"), H2_NV("content-type", "application/grpc"),
		  H2_NV(":scheme", "http"), H2_NV(":path", "/x")},
		 4,
		 -1},
		{{H2_NV(":status", "200"), H2_NV(":scheme", "http"), H2_NV(":path", "/x")}, 3, -1},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct wire w;

		CHECK_EQ(wire_init(&w, NULL), 0);
		opening(&w);
		headers_frame(&w, 1, END_STREAM, (nghttp2_nv *)table[i].nv, table[i].n);
		send_out(&w, w.out.len);
		wire_pump(&w, w.http_status >= 0 || strchr(w.frames, 'R') != NULL);
		CHECK_EQ(w.http_status, table[i].http_status);
		CHECK(w.grpc_status != 0);
		request_headers(&w, 3, SHIM_PATH("Create"), "unix"); /* the connection is whole */
		frame(&w, DATA, END_STREAM, 3, "\0\0\0\0\0", 5);
		send_out(&w, w.out.len);
		wire_pump(&w, w.grpc_status == 0);
		CHECK_EQ(w.grpc_status, 0);
		wire_done(&w);
	}
}

TEST(headers_over_the_limit_are_refused)
{
	static char value[9000];
	struct wire w;
	nghttp2_nv nv[] = {H2_NV(":method", "POST"), H2_NV(":scheme", "http"),
			   H2_NV(":path", SHIM_PATH("Create")),
			   H2_NV("content-type", "application/grpc"), H2_NV("x-filler", "")};

	memset(value, 'x', sizeof(value) - 1);
	nv[4] = h2_nv("x-filler", value);
	CHECK_EQ(wire_init(&w, NULL), 0);
	opening(&w);
	headers_frame(&w, 1, END_STREAM, nv, 5);
	send_out(&w, w.out.len);
	wire_pump(&w, w.grpc_status >= 0);
	CHECK_EQ(w.grpc_status, RPC_RESOURCE_EXHAUSTED);
	wire_done(&w);
}

TEST(a_ping_is_answered)
{
	struct wire w;

	CHECK_EQ(wire_init(&w, NULL), 0);
	opening(&w);
	frame(&w, PING, 0, 0, "pingpong", 8);
	send_out(&w, w.out.len);
	wire_pump(&w, w.ping_acks);
	CHECK_EQ(w.ping_acks, 1);
	wire_done(&w);
}

TEST(who_does_not_speak_http2_is_hung_up_on)
{
	static const char *const table[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
					    "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct wire w;

		CHECK_EQ(wire_init(&w, NULL), 0);
		(void)buf_puts(&w.out, table[i]);
		send_out(&w, w.out.len);
		wire_pump(&w, w.hung_up);
		CHECK(w.hung_up);
		wire_done(&w);
	}
}

TEST(a_broken_frame_ends_the_connection_with_a_reason)
{
	struct wire w;

	CHECK_EQ(wire_init(&w, NULL), 0);
	opening(&w);
	frame(&w, DATA, 0, 0, "x", 1); /* DATA on stream 0 */
	send_out(&w, w.out.len);
	wire_pump(&w, w.hung_up);
	CHECK_EQ(w.goaway_code, NGHTTP2_PROTOCOL_ERROR);
	CHECK(w.hung_up);
	wire_done(&w);
}

TEST(a_request_that_never_ends_is_given_up)
{
	const struct rpc_limits limits = {.request_ms = 30};
	struct wire w;

	CHECK_EQ(wire_init(&w, &limits), 0);
	opening(&w);
	request_headers(&w, 1, SHIM_PATH("Create"), "unix");
	frame(&w, DATA, 0, 1, "\0\0\0", 3);
	send_out(&w, w.out.len);
	wire_pump(&w, w.grpc_status >= 0);
	CHECK_EQ(w.grpc_status, RPC_DEADLINE_EXCEEDED);
	wire_done(&w);
}

TEST(bytes_of_unfinished_requests_are_bounded_for_all_together)
{
	static const struct rpc_limits limits = {.max_buffered_bytes = 1000};
	static uint8_t body[705] = {0, 0, 0, 2, 188}; /* 700 */
	struct wire w;

	CHECK_EQ(wire_init(&w, &limits), 0);
	opening(&w);
	request_headers(&w, 1, SHIM_PATH("Create"), "unix");
	frame(&w, DATA, 0, 1, body, 600);
	request_headers(&w, 3, SHIM_PATH("Create"), "unix");
	frame(&w, DATA, 0, 3, body, 600);
	send_out(&w, w.out.len);
	wire_pump(&w, w.grpc_status >= 0);
	CHECK_EQ(w.grpc_status, RPC_RESOURCE_EXHAUSTED); /* the second */
	w.grpc_status = -1;
	frame(&w, RST_STREAM, 0, 1, "\0\0\0\10", 4);
	request_headers(&w, 5, SHIM_PATH("Create"), "unix");
	frame(&w, DATA, END_STREAM, 5, "\0\0\0\0\0", 5);
	send_out(&w, w.out.len);
	wire_pump(&w, w.grpc_status >= 0);
	CHECK_EQ(w.grpc_status, RPC_OK); /* what was taken up is given back */
	wire_done(&w);
}

TEST(a_client_that_floods_and_reads_nothing_is_not_remembered_without_bound)
{
	struct wire w;
	struct rpc_server_stats stats;
	ssize_t n = 0;

	CHECK_EQ(wire_init(&w, NULL), 0);
	opening(&w);
	for (int i = 0; i < 10000; i++)
		frame(&w, PING, 0, 0, "pingpong", 8);
	/* Without reading: either it is hung up on, or the server stops to read as well. */
	for (int i = 0; i < 200 && n >= 0; i++) {
		n = send(w.fd, w.out.data, w.out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		for (int j = 0; j < 4; j++)
			test_loop_round(&w.f.loop, 0);
	}
	CHECK(n < 0 && (errno == EAGAIN || errno == EPIPE || errno == ECONNRESET));
	rpc_server_stats(w.f.server, &stats);
	CHECK_EQ(stats.calls, 0);
	CHECK(fixture_client(&w.f) != NULL);
	struct answer a;

	(void)fixture_call(w.f.clients[0], SHIM_PATH("Create"), 0, &a);
	fixture_pump(&w.f, a.n_done);
	CHECK_EQ(a.status, RPC_OK);
	wire_done(&w);
}

TEST_MAIN()
