#include "rpc/h2_server.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "rpc/frames.h"
#include "rpc/h2_util.h"

enum {
	MAX_PATH_BYTES = 256,	 /* no method's path is longer */
	MAX_QUEUED_ACKS = 128,	 /* of PING and SETTINGS, to a client that reads none */
	WINDOW_BYTES = 256 << 10 /* received ahead, of a stream and of the connection */
};

struct h2_stream {
	struct list node; /* in h2->streams */
	struct list due;  /* in h2->due, or pointing to itself */
	struct h2_server *h2;
	int32_t id;
	uint64_t begun_ms;
	void *owner;

	/* the request */
	char path[MAX_PATH_BYTES];
	size_t header_bytes;
	uint64_t timeout_ms;
	bool has_method, has_path, has_scheme, has_authority, has_regular, grpc_content, post;
	bool headers_done;
	struct rpc_frames in;
	size_t budgeted; /* our part of the budget: bytes in "in" */
	const uint8_t *message;
	size_t message_len;

	/* the response */
	bool submitted; /* headers */
	bool ended;
	enum rpc_status status;
	char *status_text;
	struct buf out;
	size_t out_sent;

	/* the life */
	bool whole, announced, refused, closed, wants_room, has_room;
};

struct h2_server {
	nghttp2_session *session;
	struct h2_server_limits limits;
	const struct h2_server_ops *ops;
	void *ctx;
	struct list streams;
	struct list due;
	size_t n_streams; /* not closed */
	uint64_t now_ms;  /* of the running h2_server_recv() */
	bool ready, going_away;
};

static void make_due(struct h2_stream *st)
{
	if (list_empty(&st->due))
		list_add_tail(&st->h2->due, &st->due);
}

static void budget_return(struct h2_stream *st)
{
	st->h2->limits.budget->used -= st->budgeted;
	st->budgeted = 0;
}

static void stream_free(struct h2_stream *st)
{
	list_del(&st->node);
	list_del(&st->due);
	budget_return(st);
	rpc_frames_done(&st->in);
	buf_done(&st->out);
	free(st->status_text);
	free(st);
}

/* ---- the response ---- */

static void submit_trailers(struct h2_stream *st)
{
	struct h2_trailers t;

	h2_trailers_init(&t, st->status, st->status_text);
	/* Out of memory here ends the stream without a status; the client reports that itself. */
	(void)nghttp2_submit_trailer(st->h2->session, st->id, t.nv, t.n);
	h2_trailers_done(&t);
}

static ssize_t on_data_read(nghttp2_session *session, int32_t id, uint8_t *p, size_t n,
			    uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct h2_stream *st = source->ptr;
	size_t have = st->out.len - st->out_sent;

	(void)session;
	(void)id;
	(void)ctx;
	if (have == 0 && !st->ended)
		return NGHTTP2_ERR_DEFERRED;
	if (n > have)
		n = have;
	memcpy(p, st->out.data + st->out_sent, n);
	st->out_sent += n;
	if (st->out_sent == st->out.len) {
		buf_done(&st->out);
		st->out_sent = 0;
		if (st->wants_room && !st->ended) {
			st->has_room = true;
			make_due(st);
		}
		if (st->ended) {
			*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
			submit_trailers(st);
		}
	}
	return (ssize_t)n;
}

static int submit_headers(struct h2_stream *st)
{
	const nghttp2_nv nv[] = {H2_NV(":status", "200"),
				 H2_NV("content-type", "application/grpc")};
	const nghttp2_data_provider provider = {.source.ptr = st, .read_callback = on_data_read};

	st->submitted = true;
	if (nghttp2_submit_response(st->h2->session, st->id, nv, 2, &provider) != 0)
		return -ENOMEM;
	return 0;
}

/* Headers and trailers in one: no message was sent. */
static void submit_trailers_only(struct h2_stream *st)
{
	const char *http_status = st->grpc_content || !st->headers_done ? "200" : "415";
	struct h2_trailers t;

	h2_trailers_init(&t, st->status, st->status_text);
	h2_trailers_add_headers(&t, http_status);
	st->submitted = true;
	if (nghttp2_submit_response(st->h2->session, st->id, t.nv, t.n, NULL) != 0)
		(void)nghttp2_submit_rst_stream(st->h2->session, NGHTTP2_FLAG_NONE, st->id,
						NGHTTP2_INTERNAL_ERROR);
	h2_trailers_done(&t);
}

int h2_stream_begin(struct h2_stream *st)
{
	return st->submitted || st->closed ? 0 : submit_headers(st);
}

uint8_t *h2_stream_add(struct h2_stream *st, size_t len)
{
	size_t total = RPC_FRAME_HEADER_BYTES + len;
	uint8_t *p;

	assert(!st->ended && !st->closed);
	if (st->out_sent > 0) {
		buf_consume(&st->out, st->out_sent);
		st->out_sent = 0;
	}
	if (buf_reserve(&st->out, total) < 0)
		return NULL;
	if (!st->submitted) {
		if (submit_headers(st) < 0)
			return NULL;
	} else {
		(void)nghttp2_session_resume_data(st->h2->session, st->id);
	}
	p = (uint8_t *)st->out.data + st->out.len;
	rpc_frame_header((uint32_t)len, p);
	st->out.len += total;
	return p + RPC_FRAME_HEADER_BYTES;
}

size_t h2_stream_queued(const struct h2_stream *st)
{
	return st->out.len - st->out_sent;
}

void h2_stream_wants_room(struct h2_stream *st)
{
	st->wants_room = true;
}

void h2_stream_end(struct h2_stream *st, enum rpc_status status, const char *message)
{
	assert(!st->ended);
	st->ended = true;
	if (st->closed)
		return;
	st->status = status;
	if (message != NULL)
		st->status_text = strdup(message); /* without memory: no text */
	if (!st->submitted)
		submit_trailers_only(st);
	else
		(void)nghttp2_session_resume_data(st->h2->session, st->id);
}

/* ---- the request ---- */

static void refuse(struct h2_stream *st, enum rpc_status status, const char *why)
{
	if (st->refused || st->ended || st->announced)
		return;
	st->refused = true;
	st->whole = false;
	budget_return(st);
	rpc_frames_done(&st->in);
	h2_stream_end(st, status, why);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2_server *h = ctx;
	struct h2_stream *st;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	st = calloc(1, sizeof(*st));
	if (st == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	st->h2 = h;
	st->id = frame->hd.stream_id;
	st->begun_ms = h->now_ms;
	list_init(&st->due);
	list_add_tail(&h->streams, &st->node);
	rpc_frames_init(&st->in, h->limits.max_message_bytes);
	buf_init(&st->out, SIZE_MAX / 2);
	h->n_streams++;
	(void)nghttp2_session_set_stream_user_data(session, st->id, st);
	return 0;
}

/* RFC 9113 8.3: pseudo headers come first, once each, and are these four. */
static int pseudo_header(struct h2_stream *st, const char *name, const char *value, size_t len)
{
	bool *seen;

	if (strcmp(name, ":method") == 0)
		seen = &st->has_method;
	else if (strcmp(name, ":path") == 0)
		seen = &st->has_path;
	else if (strcmp(name, ":scheme") == 0)
		seen = &st->has_scheme;
	else if (strcmp(name, ":authority") == 0)
		seen = &st->has_authority;
	else
		return -EPROTO;
	if (*seen || st->has_regular)
		return -EPROTO;
	*seen = true;
	if (seen == &st->has_method)
		st->post = len == 4 && memcmp(value, "POST", 4) == 0;
	if (seen == &st->has_path && len < sizeof(st->path)) /* a longer one is no method's */
		memcpy(st->path, value, len);
	return 0;
}

static int regular_header(struct h2_stream *st, const char *name, const char *value, size_t len)
{
	static const char grpc[] = "application/grpc";

	st->has_regular = true;
	if (strcmp(name, "content-type") == 0)
		st->grpc_content = len >= sizeof(grpc) - 1 &&
				   memcmp(value, grpc, sizeof(grpc) - 1) == 0 &&
				   (len == sizeof(grpc) - 1 || value[sizeof(grpc) - 1] == '+' ||
				    value[sizeof(grpc) - 1] == ';');
	else if (strcmp(name, "grpc-timeout") == 0 &&
		 rpc_timeout_parse(value, len, &st->timeout_ms) == 0 && st->timeout_ms == 0)
		st->timeout_ms = 1; /* "0m": over at once, where 0 means none */
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *ctx)
{
	struct h2_server *h = ctx;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	int r;

	(void)flags;
	if (st == NULL || st->refused || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	st->header_bytes += name_len + value_len + 32;
	if (st->header_bytes > h->limits.max_header_bytes) {
		refuse(st, RPC_RESOURCE_EXHAUSTED, "the request's headers are too large");
		return 0;
	}
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) /* trailers of a request tell us nothing */
		return 0;
	/* HPACK strings may hold NULs; nghttp2 puts one behind them. */
	if (memchr(name, '\0', name_len) != NULL || memchr(value, '\0', value_len) != NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (name_len > 0 && name[0] == ':')
		r = pseudo_header(st, (const char *)name, (const char *)value, value_len);
	else
		r = regular_header(st, (const char *)name, (const char *)value, value_len);
	return r < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static void headers_complete(struct h2_stream *st)
{
	st->headers_done = true;
	if (!st->has_method || !st->has_path || !st->has_scheme)
		(void)nghttp2_submit_rst_stream(st->h2->session, NGHTTP2_FLAG_NONE, st->id,
						NGHTTP2_PROTOCOL_ERROR);
	else if (!st->post)
		refuse(st, RPC_UNIMPLEMENTED, "the HTTP method is not POST");
	else if (!st->grpc_content)
		refuse(st, RPC_UNKNOWN, "the content-type is not application/grpc");
}

static void request_complete(struct h2_stream *st)
{
	int r = rpc_frames_next(&st->in, &st->message, &st->message_len);

	if (r <= 0) {
		refuse(st, RPC_INTERNAL, "the request ends before its message");
		return;
	}
	if (rpc_frames_rest(&st->in) > 0) {
		refuse(st, RPC_INTERNAL, "more than one message in the request");
		return;
	}
	st->whole = true;
	make_due(st);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2_server *h = ctx;
	struct h2_stream *st;

	if (frame->hd.type == NGHTTP2_SETTINGS)
		h->ready = true;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (st == NULL || st->refused)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		headers_complete(st);
	if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && !st->refused)
		request_complete(st);
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
			 size_t n, void *ctx)
{
	struct h2_server *h = ctx;
	struct h2_budget *budget = h->limits.budget;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(session, id);
	const uint8_t *header;

	(void)flags;
	if (st == NULL || st->refused || st->ended)
		return 0;
	if (n > budget->max - budget->used) {
		refuse(st, RPC_RESOURCE_EXHAUSTED, "too many requests are under way");
		return 0;
	}
	if (rpc_frames_add(&st->in, p, n) < 0) {
		refuse(st, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return 0;
	}
	budget->used += n;
	st->budgeted += n;
	/* What the header says is known before the bytes come. */
	header = (const uint8_t *)st->in.bytes.data;
	if (st->in.bytes.len < RPC_FRAME_HEADER_BYTES)
		return 0;
	if (header[0] != 0)
		refuse(st, RPC_UNIMPLEMENTED, "compressed messages are not supported");
	else if (rpc_frame_len(header) > h->limits.max_message_bytes)
		refuse(st, RPC_RESOURCE_EXHAUSTED, "the message is larger than the server takes");
	else if (st->in.bytes.len - RPC_FRAME_HEADER_BYTES > rpc_frame_len(header))
		refuse(st, RPC_INTERNAL, "more than one message in the request");
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *ctx)
{
	struct h2_server *h = ctx;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(session, id);

	(void)code;
	if (st == NULL)
		return 0;
	st->closed = true;
	h->n_streams--;
	budget_return(st);
	make_due(st);
	return 0;
}

/* RFC 9113 8.1: a server that answers early tells the client to stop sending. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	int32_t id = frame->hd.stream_id;

	(void)ctx;
	if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
	    nghttp2_session_get_stream_remote_close(session, id) == 0)
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
	return 0;
}

/* ---- the connection ---- */

static int new_session(struct h2_server *h)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int r = NGHTTP2_ERR_NOMEM;

	if (nghttp2_option_new(&option) == 0 && nghttp2_session_callbacks_new(&callbacks) == 0) {
		nghttp2_option_set_no_http_messaging(option, 1);
		nghttp2_option_set_no_closed_streams(option, 1);
		nghttp2_option_set_max_outbound_ack(option, MAX_QUEUED_ACKS);
		nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks,
									on_begin_headers);
		nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
		nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
		nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
		nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
		r = nghttp2_session_server_new2(&h->session, callbacks, h, option);
	}
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(option);
	return r == 0 ? 0 : -ENOMEM;
}

static int send_preface(struct h2_server *h)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)h->limits.max_streams},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)h->limits.max_header_bytes},
	};

	if (nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, 3) != 0 ||
	    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES) !=
		    0)
		return -ENOMEM;
	return 0;
}

int h2_server_new(const struct h2_server_limits *limits, const struct h2_server_ops *ops, void *ctx,
		  struct h2_server **ret)
{
	struct h2_server *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->limits = *limits;
	h->ops = ops;
	h->ctx = ctx;
	list_init(&h->streams);
	list_init(&h->due);
	if (new_session(h) < 0 || send_preface(h) < 0) {
		(void)h2_server_free(h);
		return -ENOMEM;
	}
	*ret = h;
	return 0;
}

struct h2_server *h2_server_free(struct h2_server *h)
{
	if (h == NULL)
		return NULL;
	list_for_each_safe (n, &h->streams)
		stream_free(list_entry(n, struct h2_stream, node));
	nghttp2_session_del(h->session);
	free(h);
	return NULL;
}

int h2_server_recv(struct h2_server *h, const void *p, size_t n, uint64_t now_ms)
{
	ssize_t r;

	h->now_ms = now_ms;
	r = nghttp2_session_mem_recv(h->session, p, n);
	if (r == NGHTTP2_ERR_NOMEM)
		return -ENOMEM;
	return r < 0 ? -EPROTO : 0;
}

int h2_server_send(struct h2_server *h, struct buf *out, size_t max_bytes)
{
	while (out->len < max_bytes) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(h->session, &p);

		if (n < 0)
			return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
		if (n == 0)
			break;
		if (buf_add(out, p, (size_t)n) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void dispatch_one(struct h2_server *h, struct h2_stream *st)
{
	if (st->closed) {
		if (st->announced)
			h->ops->closed(st, h->ctx);
		stream_free(st);
		return;
	}
	if (st->whole && !st->announced) {
		st->announced = true;
		h->ops->request(st, h->ctx);
	} else if (st->has_room) {
		st->has_room = st->wants_room = false;
		if (!st->ended)
			h->ops->room(st, h->ctx);
	}
}

bool h2_server_dispatch(struct h2_server *h)
{
	bool any = false;

	while (!list_empty(&h->due)) {
		struct h2_stream *st = list_entry(h->due.next, struct h2_stream, due);

		list_del(&st->due);
		dispatch_one(h, st);
		any = true;
	}
	return any;
}

bool h2_server_is_due(const struct h2_server *h)
{
	return !list_empty(&h->due);
}

bool h2_server_is_ready(const struct h2_server *h)
{
	return h->ready;
}

bool h2_server_is_over(const struct h2_server *h)
{
	bool wants = nghttp2_session_want_read(h->session) != 0 ||
		     nghttp2_session_want_write(h->session) != 0;

	return !wants ||
	       (h->going_away && h->n_streams == 0 && nghttp2_session_want_write(h->session) == 0);
}

size_t h2_server_n_streams(const struct h2_server *h)
{
	return h->n_streams;
}

void h2_server_goaway(struct h2_server *h)
{
	if (h->going_away)
		return;
	h->going_away = true;
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(h->session),
				    NGHTTP2_NO_ERROR, NULL, 0);
}

void h2_server_expire(struct h2_server *h, uint64_t then_ms, uint64_t *ret_next)
{
	*ret_next = UINT64_MAX;
	list_for_each (n, &h->streams) {
		struct h2_stream *st = list_entry(n, struct h2_stream, node);

		if (st->whole || st->announced || st->refused || st->closed)
			continue;
		if (st->begun_ms < then_ms)
			refuse(st, RPC_DEADLINE_EXCEEDED, "the request was not sent to its end");
		else if (st->begun_ms < *ret_next)
			*ret_next = st->begun_ms;
	}
}

/* ---- an announced stream ---- */

const char *h2_stream_path(const struct h2_stream *st)
{
	return st->path;
}

uint64_t h2_stream_timeout_ms(const struct h2_stream *st)
{
	return st->timeout_ms;
}

uint64_t h2_stream_begun_ms(const struct h2_stream *st)
{
	return st->begun_ms;
}

const uint8_t *h2_stream_message(const struct h2_stream *st, size_t *ret_len)
{
	*ret_len = st->message_len;
	return st->message;
}

void h2_stream_drop_message(struct h2_stream *st)
{
	st->message = NULL;
	st->message_len = 0;
	budget_return(st);
	rpc_frames_done(&st->in);
}

void h2_stream_set_owner(struct h2_stream *st, void *owner)
{
	st->owner = owner;
}

void *h2_stream_owner(const struct h2_stream *st)
{
	return st->owner;
}
