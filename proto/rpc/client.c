#include "rpc/client.h"

#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "rpc/frames.h"
#include "rpc/h2_util.h"

enum {
	MAX_MESSAGE_BYTES = 4 << 20, /* of an answer */
	MAX_TEXT = 4096,
	OUT_BYTES = 32 << 10,
};

struct rpc_client_call {
	struct list node; /* in client->calls */
	struct rpc_client *client;
	int32_t id;
	const ProtobufCMessageDescriptor *reply;
	const struct rpc_client_ops *ops; /* NULL: cancelled */
	void *data;
	uint64_t deadline_ms;
	struct buf out; /* the request in its frame */
	size_t out_sent;
	struct rpc_frames in;
	unsigned int http_status;
	bool has_status; /* grpc-status has come */
	bool over;	 /* status is the call's end */
	bool told;	 /* ops->done was called */
	bool closed;	 /* the session has forgotten the stream */
	enum rpc_status status;
	struct buf text;
};

struct rpc_client {
	int fd;
	nghttp2_session *session;
	struct list calls;
	struct buf out;
	size_t out_sent;
	bool broken;
};

/* ---- a call ---- */

static void call_free(struct rpc_client_call *call)
{
	list_del(&call->node);
	buf_done(&call->out);
	buf_done(&call->text);
	rpc_frames_done(&call->in);
	free(call);
}

static void call_over(struct rpc_client_call *call, enum rpc_status status, const char *text)
{
	if (call->over)
		return;
	call->over = true;
	call->status = status;
	if (text != NULL) {
		buf_done(&call->text);
		(void)buf_puts(&call->text, text);
	}
}

static void reset_stream(struct rpc_client_call *call)
{
	(void)nghttp2_submit_rst_stream(call->client->session, NGHTTP2_FLAG_NONE, call->id,
					NGHTTP2_CANCEL);
}

static ssize_t on_data_read(nghttp2_session *session, int32_t id, uint8_t *p, size_t n,
			    uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct rpc_client_call *call = source->ptr;
	size_t have = call->out.len - call->out_sent;

	(void)session;
	(void)id;
	(void)ctx;
	if (n > have)
		n = have;
	memcpy(p, call->out.data + call->out_sent, n);
	call->out_sent += n;
	if (n == have)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *ctx)
{
	struct rpc_client_call *call =
		nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	const char *n = (const char *)name, *v = (const char *)value;

	(void)name_len;
	(void)flags;
	(void)ctx;
	if (call == NULL || call->over)
		return 0;
	if (strcmp(n, ":status") == 0) {
		call->http_status = (unsigned int)strtoul(v, NULL, 10);
	} else if (strcmp(n, "grpc-status") == 0) {
		call->has_status = true;
		call->status = (enum rpc_status)strtoul(v, NULL, 10);
	} else if (strcmp(n, "grpc-message") == 0) {
		buf_done(&call->text);
		(void)rpc_message_decode(v, value_len, &call->text);
	}
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
			 size_t n, void *ctx)
{
	struct rpc_client_call *call = nghttp2_session_get_stream_user_data(session, id);

	(void)flags;
	(void)ctx;
	if (call == NULL || call->over)
		return 0;
	if (rpc_frames_add(&call->in, p, n) < 0) {
		call_over(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		reset_stream(call);
		return 0;
	}
	for (;;) {
		const uint8_t *bytes;
		size_t len;
		int r = rpc_frames_next(&call->in, &bytes, &len);
		ProtobufCMessage *m = NULL;

		if (r == 0)
			return 0;
		if (r > 0)
			m = protobuf_c_message_unpack(call->reply, NULL, len, bytes);
		if (m == NULL) {
			call_over(call, RPC_INTERNAL, "the server sent a message that is none");
			reset_stream(call);
			return 0;
		}
		/* Cancelled by an earlier message of this chunk? */
		if (call->ops != NULL && call->ops->message != NULL)
			call->ops->message(call, m, call->data);
		protobuf_c_message_free_unpacked(m, NULL);
	}
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *ctx)
{
	struct rpc_client_call *call = nghttp2_session_get_stream_user_data(session, id);

	(void)ctx;
	if (call == NULL)
		return 0;
	call->closed = true;
	if (call->has_status)
		call_over(call, call->status, NULL);
	else if (code != NGHTTP2_NO_ERROR)
		call_over(call, code == NGHTTP2_REFUSED_STREAM ? RPC_UNAVAILABLE : RPC_INTERNAL,
			  nghttp2_http2_strerror(code));
	else
		call_over(call, RPC_UNKNOWN,
			  call->http_status == 200 ? "the answer has no status"
						   : "the server does not speak gRPC");
	return 0;
}

static int send_request(struct rpc_client_call *call, const char *path, uint64_t timeout_ms)
{
	char timeout[16];
	const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = on_data_read};
	nghttp2_nv nv[] = {
		H2_NV(":method", "POST"),
		H2_NV(":scheme", "http"),
		h2_nv(":path", path),
		H2_NV(":authority", "localhost"),
		H2_NV("content-type", "application/grpc"),
		H2_NV("te", "trailers"),
		H2_NV("grpc-timeout", ""),
	};
	size_t n = sizeof(nv) / sizeof(nv[0]);

	rpc_timeout_format(timeout_ms, timeout);
	nv[n - 1] = h2_nv("grpc-timeout", timeout);
	if (timeout_ms == 0)
		n--;
	call->id = nghttp2_submit_request(call->client->session, NULL, nv, n, &provider, call);
	return call->id < 0 ? -ENOMEM : 0;
}

static int pack_request(struct rpc_client_call *call, const ProtobufCMessage *request)
{
	size_t len = protobuf_c_message_get_packed_size(request);
	int r = buf_reserve(&call->out, RPC_FRAME_HEADER_BYTES + len);

	if (r < 0)
		return r;
	rpc_frame_header((uint32_t)len, (uint8_t *)call->out.data);
	(void)protobuf_c_message_pack(request, (uint8_t *)call->out.data + RPC_FRAME_HEADER_BYTES);
	call->out.len = RPC_FRAME_HEADER_BYTES + len;
	return 0;
}

int rpc_client_start(struct rpc_client *c, const char *path, const ProtobufCMessage *request,
		     const ProtobufCMessageDescriptor *reply, uint64_t timeout_ms,
		     const struct rpc_client_ops *ops, void *data, struct rpc_client_call **ret)
{
	struct rpc_client_call *call;
	int r;

	if (c->broken)
		return -EPIPE;
	call = calloc(1, sizeof(*call));
	if (call == NULL)
		return -ENOMEM;
	call->client = c;
	call->reply = reply;
	call->ops = ops;
	call->data = data;
	call->deadline_ms = timeout_ms > 0 ? clock_mono_ms() + timeout_ms : 0;
	buf_init(&call->out, SIZE_MAX / 2);
	buf_init(&call->text, MAX_TEXT);
	rpc_frames_init(&call->in, MAX_MESSAGE_BYTES);
	list_add_tail(&c->calls, &call->node);
	r = pack_request(call, request);
	if (r == 0)
		r = send_request(call, path, timeout_ms);
	if (r < 0) {
		call_free(call);
		return r;
	}
	if (ret != NULL)
		*ret = call;
	return 0;
}

void rpc_client_cancel(struct rpc_client_call *call)
{
	call->ops = NULL;
	if (!call->over) {
		call_over(call, RPC_CANCELLED, NULL);
		reset_stream(call);
	}
}

/* ---- the connection ---- */

static int new_session(struct rpc_client *c)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int r = NGHTTP2_ERR_NOMEM;

	if (nghttp2_option_new(&option) == 0 && nghttp2_session_callbacks_new(&callbacks) == 0) {
		nghttp2_option_set_no_closed_streams(option, 1);
		nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
		nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
		r = nghttp2_session_client_new2(&c->session, callbacks, c, option);
	}
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(option);
	if (r == 0)
		r = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
	return r == 0 ? 0 : -ENOMEM;
}

int rpc_client_adopt(int fd, struct rpc_client **ret, struct err *err)
{
	cleanup_fd int owned_fd = fd;
	struct rpc_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return err_set(err, ENOMEM, "out of memory");
	c->fd = steal_fd(owned_fd);
	list_init(&c->calls);
	buf_init(&c->out, SIZE_MAX / 2);
	if (new_session(c) < 0) {
		(void)rpc_client_close(c);
		return err_set(err, ENOMEM, "out of memory");
	}
	*ret = c;
	return 0;
}

/* The longest path of sockaddr_un is 107 bytes: a longer one is reached through its folder. */
static int socket_address(const char *path, struct sockaddr_un *ret, int *ret_dir_fd)
{
	const char *slash = strrchr(path, '/');
	char dir[4096];
	int n;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) < sizeof(ret->sun_path)) {
		memcpy(ret->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (slash == NULL || (size_t)(slash - path) >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	*ret_dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir_fd < 0)
		return -errno;
	n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", *ret_dir_fd,
		     slash + 1);
	return (size_t)n < sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

int rpc_client_connect(const char *path, struct rpc_client **ret, struct err *err)
{
	cleanup_fd int dir_fd = -1;
	cleanup_fd int fd = -1;
	struct sockaddr_un address;
	int r = socket_address(path, &address, &dir_fd);

	if (r < 0)
		return err_errno(err, -r, "connect to %s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, errno, "make a socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_errno(err, errno, "connect to %s", path);
	return rpc_client_adopt(steal_fd(fd), ret, err);
}

struct rpc_client *rpc_client_close(struct rpc_client *c)
{
	if (c == NULL)
		return NULL;
	nghttp2_session_del(c->session);
	list_for_each_safe (n, &c->calls)
		call_free(list_entry(n, struct rpc_client_call, node));
	buf_done(&c->out);
	(void)close(c->fd);
	free(c);
	return NULL;
}

static void write_out(struct rpc_client *c)
{
	while (c->out_sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->out_sent, c->out.len - c->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			c->broken = c->broken || errno != EAGAIN;
			return;
		}
		c->out_sent += (size_t)n;
	}
	c->out.len = c->out_sent = 0;
}

static void flush(struct rpc_client *c)
{
	while (!c->broken) {
		write_out(c);
		if (c->broken || c->out.len > 0)
			return;
		while (c->out.len < OUT_BYTES) {
			const uint8_t *p;
			ssize_t n = nghttp2_session_mem_send(c->session, &p);

			if (n < 0 || (n > 0 && buf_add(&c->out, p, (size_t)n) < 0))
				c->broken = true;
			if (n <= 0)
				break;
		}
		if (c->out.len == 0)
			return;
	}
}

static void read_in(struct rpc_client *c)
{
	while (!c->broken) {
		uint8_t bytes[16384];
		ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || nghttp2_session_mem_recv(c->session, bytes, (size_t)n) < 0)
			c->broken = true;
	}
}

/* The callback may start and cancel calls, so the walk starts over behind each. */
static bool finish_one(struct rpc_client *c, uint64_t now_ms)
{
	list_for_each (n, &c->calls) {
		struct rpc_client_call *call = list_entry(n, struct rpc_client_call, node);
		const struct rpc_client_ops *ops = call->ops;

		if (!call->over && call->deadline_ms != 0 && call->deadline_ms <= now_ms) {
			call_over(call, RPC_DEADLINE_EXCEEDED, "the deadline has passed");
			reset_stream(call);
		}
		if (c->broken)
			call_over(call, RPC_UNAVAILABLE, "the connection is closed");
		if (!call->over)
			continue;
		if (!call->told) {
			call->told = true;
			call->ops = NULL;
			if (ops != NULL && ops->done != NULL)
				ops->done(call, call->status, call->text.data, call->data);
			return true;
		}
		if (!call->closed && !c->broken) /* the session still reads from it */
			continue;
		call_free(call);
		return true;
	}
	return false;
}

void rpc_client_process(struct rpc_client *c)
{
	uint64_t now_ms = clock_mono_ms();

	flush(c);
	read_in(c);
	flush(c);
	if (nghttp2_session_want_read(c->session) == 0 &&
	    nghttp2_session_want_write(c->session) == 0)
		c->broken = true; /* the server has said goodbye */
	while (finish_one(c, now_ms))
		;
	flush(c);
}

int rpc_client_fd(const struct rpc_client *c)
{
	return c->fd;
}

short rpc_client_events(const struct rpc_client *c)
{
	bool writes = c->out.len > c->out_sent || nghttp2_session_want_write(c->session) != 0;

	return (short)(writes ? POLLIN | POLLOUT : POLLIN);
}

int rpc_client_timeout_ms(const struct rpc_client *c)
{
	uint64_t now_ms = clock_mono_ms(), next = UINT64_MAX;

	list_for_each (n, &c->calls) {
		const struct rpc_client_call *call = list_entry(n, struct rpc_client_call, node);

		if ((call->over || c->broken) && !call->told)
			return 0;
		if (!call->over && call->deadline_ms != 0 && call->deadline_ms < next)
			next = call->deadline_ms;
	}
	if (next == UINT64_MAX)
		return -1;
	if (next <= now_ms)
		return 0;
	return next - now_ms > 3600000 ? 3600000 : (int)(next - now_ms);
}

/* ---- waiting for one answer ---- */

struct waiter {
	ProtobufCMessage *m;
	const ProtobufCMessageDescriptor *reply;
	size_t n_messages;
	bool done;
	enum rpc_status status;
	struct err err;
};

/* The message is only lent to us: a copy by way of its bytes. */
static void wait_message(struct rpc_client_call *call, const ProtobufCMessage *m, void *data)
{
	struct waiter *w = data;
	size_t len = protobuf_c_message_get_packed_size(m);
	cleanup_free uint8_t *bytes = malloc(len > 0 ? len : 1);

	(void)call;
	if (w->n_messages++ > 0 || bytes == NULL)
		return;
	(void)protobuf_c_message_pack(m, bytes);
	w->m = protobuf_c_message_unpack(w->reply, NULL, len, bytes);
}

static void wait_done(struct rpc_client_call *call, enum rpc_status status, const char *text,
		      void *data)
{
	struct waiter *w = data;
	int r = rpc_status_to_errno(status);

	(void)call;
	w->done = true;
	w->status = status;
	if (r < 0)
		(void)err_set(&w->err, -r, "%s", text[0] != '\0' ? text : rpc_status_name(status));
}

int rpc_client_call(struct rpc_client *c, const char *path, const ProtobufCMessage *request,
		    const ProtobufCMessageDescriptor *reply, uint64_t timeout_ms,
		    ProtobufCMessage **ret, struct err *err)
{
	static const struct rpc_client_ops ops = {.message = wait_message, .done = wait_done};
	struct waiter w = {.reply = reply};
	int r = rpc_client_start(c, path, request, reply, timeout_ms, &ops, &w, NULL);

	if (r < 0)
		return err_set(err, -r, r == -EPIPE ? "the connection is closed" : "out of memory");
	for (;;) {
		struct pollfd p = {.fd = c->fd};

		rpc_client_process(c);
		if (w.done)
			break;
		p.events = rpc_client_events(c);
		(void)poll(&p, 1, rpc_client_timeout_ms(c));
	}
	if (w.status != RPC_OK) {
		r = -w.err.code;
		if (err != NULL)
			*err = w.err;
		if (err != NULL)
			err->detail = (int)w.status;
	} else if (w.n_messages != 1 || w.m == NULL) {
		r = err_set(err, EPROTO, "the answer has %zu messages", w.n_messages);
	}
	if (r == 0 && ret != NULL)
		*ret = steal_ptr(w.m);
	if (w.m != NULL)
		protobuf_c_message_free_unpacked(w.m, NULL);
	return r;
}
