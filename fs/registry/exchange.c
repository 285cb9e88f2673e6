#include "registry/exchange.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "registry/url.h"

#define MAX_REDIRECTS 10
#define MAX_HEADER_BYTES ((size_t)128 << 10)
#define MAX_TEXT_BYTES ((size_t)16 << 10)
#define BUFFER_BYTES (512L << 10) /* the most that libcurl reads at once */
#define MIN_BYTES_PER_S 1024	  /* over three times stall_ms; a reply below it trickles */

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

void exchange_init(struct exchange *x)
{
	memset(x, 0, sizeof(*x));
	x->body_fd = -1;
	buf_init(&x->text, MAX_TEXT_BYTES);
	list_init(&x->watch.node);
}

static const char *url_of(const struct exchange *x)
{
	return x->at != NULL ? x->at : x->url;
}

void exchange_describe(const struct exchange *x, char *out, size_t n)
{
	char url[256];

	url_show(url_of(x), url, sizeof(url));
	(void)snprintf(out, n, "%s %s", method_names[x->method], url);
}

/* RFC 9110 section 15, as far as people meet them. */
static const char *meaning(int status)
{
	switch (status) {
	case 401:
		return "not logged in, or not as who may";
	case 403:
		return "not allowed";
	case 404:
		return "not found";
	case 429:
		return "too many requests";
	case 500:
		return "the server failed";
	case 502:
	case 503:
	case 504:
		return "the server is not available";
	default:
		return "";
	}
}

void exchange_reason(const struct exchange *x, char *out, size_t n)
{
	json_t *o = x->text.len > 0 ? json_loadb(x->text.data, x->text.len, 0, NULL) : NULL;
	const json_t *first = json_array_get(json_object_get(o, "errors"), 0);
	const char *code = json_string_value(json_object_get(first, "code"));
	const char *message = json_string_value(json_object_get(first, "message"));

	if (code != NULL && message != NULL)
		(void)snprintf(out, n, "%s: %s", code, message);
	else
		(void)snprintf(out, n, "%s",
			       code != NULL	 ? code
			       : message != NULL ? message
						 : meaning(x->reply.status));
	json_decref(o);
}

/* -- the reply ----------------------------------------------------------------------------- */

static void reply_done(struct reply *p)
{
	free(p->location);
	memset(p, 0, sizeof(*p));
}

/* The value of the header line when it is called name, else NULL. */
static const char *value_of(const char *line, const char *name)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	return line + strspn(line, " \t");
}

static void take_length(struct reply *p, const char *value)
{
	char *end;

	errno = 0;
	p->length = strtoull(value, &end, 10);
	p->has_length = *value >= '0' && *value <= '9' && errno == 0 && *end == '\0';
}

static void take_field(struct reply *p, const char *line)
{
	const char *v;

	if ((v = value_of(line, "Content-Length")) != NULL) {
		take_length(p, v);
	} else if ((v = value_of(line, "Content-Range")) != NULL) {
		p->has_range = content_range_parse(v, &p->range) == 0;
		p->range_is_bad = !p->has_range;
	} else if ((v = value_of(line, "Content-Type")) != NULL) {
		mediatype_parse(v, p->mediatype, sizeof(p->mediatype));
	} else if ((v = value_of(line, "Content-Encoding")) != NULL) {
		p->encoded = *v != '\0' && strcasecmp(v, "identity") != 0;
	} else if ((v = value_of(line, "Docker-Content-Digest")) != NULL) {
		if (strlen(v) < sizeof(p->digest))
			(void)snprintf(p->digest, sizeof(p->digest), "%s", v);
	} else if ((v = value_of(line, "Range")) != NULL) {
		if (strlen(v) < sizeof(p->upload_range))
			(void)snprintf(p->upload_range, sizeof(p->upload_range), "%s", v);
	} else if ((v = value_of(line, "OCI-Chunk-Min-Length")) != NULL) {
		p->chunk_min = strtoull(v, NULL, 10);
	} else if ((v = value_of(line, "Retry-After")) != NULL) {
		p->retry_after_ms = retry_after_parse_ms(v);
	} else if ((v = value_of(line, "WWW-Authenticate")) != NULL) {
		(void)challenge_parse(v, &p->challenge);
	} else if ((v = value_of(line, "Location")) != NULL && p->location == NULL) {
		p->location = strdup(v);
	}
}

static void saw_bytes(struct exchange *x, size_t n)
{
	x->last_byte_ms = clock_mono_ms();
	x->window_bytes += n;
}

static bool is_redirect(const struct exchange *x)
{
	int s = x->reply.status;

	return (x->method == EXCHANGE_GET || x->method == EXCHANGE_HEAD) &&
	       x->reply.location != NULL &&
	       (s == 301 || s == 302 || s == 303 || s == 307 || s == 308);
}

/* Not 0: what ends the exchange. */
static int call_head(struct exchange *x)
{
	if (x->has_head || is_redirect(x) || x->reply.status < 200)
		return 0;
	x->has_head = true;
	if (x->reply.encoded && x->method == EXCHANGE_GET && x->reply.status < 300)
		return -EPROTO;
	return x->head != NULL ? x->head(x) : 0;
}

/* One line of a header, also of those before it (100, a proxy's). */
static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	char line[9000];
	size_t len = size * n;

	saw_bytes(x, len);
	x->header_bytes += len;
	if (x->header_bytes > MAX_HEADER_BYTES) {
		x->stopped = -EPROTO;
		return 0;
	}
	while (len > 0 && (p[len - 1] == '\n' || p[len - 1] == '\r' || p[len - 1] == ' '))
		len--;
	if (len == 0) {
		x->stopped = call_head(x);
		return x->stopped == 0 ? size * n : 0;
	}
	if (len >= sizeof(line) || memchr(p, '\0', len) != NULL)
		return size * n; /* no field that we read is so long */
	memcpy(line, p, len);
	line[len] = '\0';
	if (strncmp(line, "HTTP/", 5) == 0) {
		const char *status = strchr(line, ' ');

		reply_done(&x->reply);
		x->reply.status = status != NULL ? (int)strtol(status, NULL, 10) : 0;
	} else {
		take_field(&x->reply, line);
	}
	return size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	size_t len = size * n;

	if (is_redirect(x) || x->reply.status >= 300) {
		size_t room = x->text.max - x->text.len;

		/* What is longer than an error is of no interest. */
		if (buf_add(&x->text, p, len < room ? len : room) < 0 || len > room)
			x->stopped = EXCHANGE_ENOUGH;
	} else if (x->data != NULL) {
		x->stopped = x->data(x, p, len);
	} else if (x->bytes > MAX_TEXT_BYTES) {
		x->stopped = EXCHANGE_ENOUGH; /* nobody wants it, and it may have no end */
	}
	if (x->stopped == -EAGAIN) {
		x->stopped = 0;
		x->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	saw_bytes(x, len);
	x->bytes += len;
	STAT_ADD(x->r, bytes_in, len);
	return x->stopped == 0 ? len : 0;
}

/* -- the request --------------------------------------------------------------------------- */

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	uint64_t left = x->body_len - x->sent;
	size_t len = size * n < left ? size * n : (size_t)left;
	ssize_t r;

	if (x->body != NULL) {
		memcpy(p, (const char *)x->body + x->sent, len);
	} else if (len > 0) {
		r = fd_pread_full(x->body_fd, p, len, x->body_offset + x->sent);
		if (r < 0 || (size_t)r < len) {
			x->stopped = r < 0 ? (int)r : -EIO;
			return CURL_READFUNC_ABORT;
		}
	}
	x->sent += len;
	saw_bytes(x, len);
	return len;
}

/* A kept connection that turned out to be dead: libcurl sends the request once more. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct exchange *x = arg;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > x->body_len)
		return CURL_SEEKFUNC_CANTSEEK;
	x->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

__attribute__((format(printf, 2, 3))) static int add_header(struct exchange *x, const char *fmt,
							    ...)
{
	struct curl_slist *l = NULL;
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	l = curl_slist_append(x->headers, s);
	free(s);
	if (l == NULL)
		return -ENOMEM;
	x->headers = l;
	return 0;
}

/* to_url: where authorization may go. to_host: what else is the host's own. */
static int set_headers(struct exchange *x, bool to_url, bool to_host)
{
	bool authorized = to_url && x->authorization != NULL;
	int r = 0;

	for (size_t i = 0; to_host && i < x->host->n_headers && r == 0; i++) {
		const struct host_header *h = &x->host->headers[i];

		if (authorized && strcasecmp(h->name, "Authorization") == 0)
			continue;
		r = add_header(x, *h->value != '\0' ? "%s: %s" : "%s;", h->name, h->value);
	}
	if (r == 0 && authorized)
		r = add_header(x, "Authorization: %s", x->authorization);
	if (r == 0 && x->accept != NULL)
		r = add_header(x, "Accept: %s", x->accept);
	if (r == 0 && x->content_type != NULL)
		r = add_header(x, "Content-Type: %s", x->content_type);
	if (r == 0 && x->content_range != NULL)
		r = add_header(x, "Content-Range: %s", x->content_range);
	if (r == 0 && x->has_range && x->range_last != UINT64_MAX)
		r = add_header(x, "Range: bytes=%llu-%llu", (unsigned long long)x->range_first,
			       (unsigned long long)x->range_last);
	else if (r == 0 && x->has_range)
		r = add_header(x, "Range: bytes=%llu-", (unsigned long long)x->range_first);
	if (r == 0 && x->method >= EXCHANGE_POST)
		r = add_header(x, "Expect:"); /* no waiting for 100 */
	return r;
}

#define SET(option, value) (void)curl_easy_setopt(x->easy, (option), (value))

static void set_method(struct exchange *x)
{
	if (x->method == EXCHANGE_HEAD) {
		SET(CURLOPT_NOBODY, 1L);
		return;
	}
	if (x->method == EXCHANGE_GET)
		return;
	SET(CURLOPT_UPLOAD, 1L);
	SET(CURLOPT_CUSTOMREQUEST, method_names[x->method]);
	SET(CURLOPT_READFUNCTION, on_read);
	SET(CURLOPT_READDATA, x);
	SET(CURLOPT_SEEKFUNCTION, on_seek);
	SET(CURLOPT_SEEKDATA, x);
	SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body_len);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
}

static void set_tls(struct exchange *x, bool to_host)
{
	const struct host *h = x->host;

	if (h->ca != NULL) {
		struct curl_blob blob = {h->ca, h->ca_len, CURL_BLOB_NOCOPY};

		SET(CURLOPT_CAINFO_BLOB, &blob); /* the system's directory of CAs stays trusted */
	}
	if (h->skip_verify) {
		SET(CURLOPT_SSL_VERIFYPEER, 0L);
		SET(CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (to_host && h->client_cert != NULL) {
		SET(CURLOPT_SSLCERT, h->client_cert);
		SET(CURLOPT_SSLKEY, h->client_key);
	}
}

static int set_options(struct exchange *x)
{
	const struct host *h = x->host;
	struct url_origin at, first;
	bool to_host, to_url;
	int r = url_origin(url_of(x), &at);

	if (r == 0)
		r = url_origin(x->url, &first);
	if (r < 0)
		return r;
	to_host = strcmp(at.s, h->origin.s) == 0;
	to_url = strcmp(at.s, first.s) == 0;
	r = set_headers(x, to_url, to_host);
	if (r < 0)
		return r;

	SET(CURLOPT_URL, url_of(x));
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
	SET(CURLOPT_USERAGENT, "contentfs/" CONTENTFS_VERSION);
	SET(CURLOPT_HTTPHEADER, x->headers);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a name server when we have given up */
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	SET(CURLOPT_CONNECTTIMEOUT_MS,
	    (long)(h->dial_timeout_ms > 0 ? h->dial_timeout_ms : x->r->connect_ms));
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, x);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, x);
	SET(CURLOPT_ERRORBUFFER, x->curl_error);
	SET(CURLOPT_PRIVATE, x);
	if (x->max_bytes_per_s > 0)
		SET(CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)x->max_bytes_per_s);
	if (url_is_loopback(strstr(at.s, "://") + 3))
		SET(CURLOPT_PROXY, "");
	else if (x->r->http_proxy != NULL && url_is_plain(url_of(x)))
		SET(CURLOPT_PROXY, x->r->http_proxy);
	set_method(x);
	set_tls(x, to_host);
	return 0;
}

/* -- its life ------------------------------------------------------------------------------ */

/* Out of libcurl. */
static void detach(struct exchange *x)
{
	if (x->running)
		(void)curl_multi_remove_handle(x->r->multi, x->easy);
	x->running = false;
	timer_clear(&x->watch);
	curl_easy_cleanup(x->easy);
	x->easy = NULL;
	curl_slist_free_all(x->headers);
	x->headers = NULL;
}

/* What was allocated for one exchange; the reply and text stay for who asked until the next. */
static void forget_way(struct exchange *x)
{
	for (unsigned int i = 0; i < x->n_seen; i++)
		free(x->seen[i]);
	x->n_seen = 0;
	free(x->at);
	x->at = NULL;
}

void exchange_stop(struct exchange *x)
{
	if (x->r != NULL)
		detach(x);
	forget_way(x);
	reply_done(&x->reply);
	buf_done(&x->text);
}

static void end(struct exchange *x, int r, struct err *err)
{
	char what[300];

	if (x->r->debug) {
		exchange_describe(x, what, sizeof(what));
		log_debug("registry", "%s status=%d bytes=%llu ms=%llu%s%s", what, x->reply.status,
			  (unsigned long long)x->bytes,
			  (unsigned long long)(clock_mono_ms() - x->started_ms),
			  r < 0 ? " error=" : "", r < 0 ? err_text(err, r) : "");
	}
	detach(x);
	x->done(x, r, err);
}

/* Silent or too slow? Not while it is connecting (libcurl sees to that), queued or paused. */
static void on_watch(struct timer *t)
{
	struct exchange *x = list_entry(t, struct exchange, watch);
	uint64_t now_ms = clock_mono_ms();
	uint64_t stall_ms = x->stall_ms > 0 ? x->stall_ms : x->r->stall_ms;
	curl_off_t connected_us = 0;
	struct err err = {0};
	char what[300];

	(void)curl_easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
	if (connected_us == 0 || x->paused) {
		x->last_byte_ms = x->window_ms = now_ms;
		x->window_bytes = 0;
	}
	exchange_describe(x, what, sizeof(what));
	if (now_ms - x->last_byte_ms >= stall_ms) {
		end(x,
		    err_set(&err, ETIMEDOUT, "%s: no byte for %llu s", what,
			    (unsigned long long)((now_ms - x->last_byte_ms + 500) / 1000)),
		    &err);
		return;
	}
	if (now_ms - x->window_ms >= 3 * stall_ms) {
		uint64_t want = MIN_BYTES_PER_S;

		if (x->max_bytes_per_s > 0 && x->max_bytes_per_s < 2 * want)
			want = x->max_bytes_per_s / 2;
		if (x->window_bytes < want * (now_ms - x->window_ms) / 1000) {
			end(x,
			    err_set(&err, ETIMEDOUT, "%s: %llu bytes in %llu s", what,
				    (unsigned long long)x->window_bytes,
				    (unsigned long long)(now_ms - x->window_ms) / 1000),
			    &err);
			return;
		}
		x->window_ms = now_ms;
		x->window_bytes = 0;
	}
	timer_set(x->r, t, now_ms + stall_ms / 4 + 1);
}

static int launch(struct exchange *x)
{
	uint64_t stall_ms = x->stall_ms > 0 ? x->stall_ms : x->r->stall_ms;
	int r;

	reply_done(&x->reply);
	x->text.len = 0;
	x->header_bytes = 0;
	x->sent = x->bytes = x->window_bytes = 0;
	x->has_head = x->paused = false;
	x->stopped = 0;
	x->curl_error[0] = '\0';
	x->started_ms = x->last_byte_ms = x->window_ms = clock_mono_ms();
	x->easy = curl_easy_init();
	if (x->easy == NULL)
		return -ENOMEM;
	r = set_options(x);
	if (r == 0 && curl_multi_add_handle(x->r->multi, x->easy) != CURLM_OK)
		r = -ENOMEM;
	if (r < 0) {
		detach(x);
		return r;
	}
	x->running = true;
	x->watch.fired = on_watch;
	timer_set(x->r, &x->watch, x->started_ms + stall_ms / 4 + 1);
	STAT_ADD(x->r, http_requests, 1);
	return 0;
}

int exchange_start(struct registry *r, struct exchange *x, struct err *err)
{
	int k;

	x->r = r;
	forget_way(x);
	k = launch(x);
	if (k == -ENOMEM)
		return err_set(err, ENOMEM, "out of memory");
	return k < 0 ? err_set(err, EINVAL, "\"%.200s\" is no URL", x->url) : 0;
}

void exchange_resume(struct exchange *x)
{
	if (!x->running || !x->paused)
		return;
	x->paused = false;
	x->last_byte_ms = x->window_ms = clock_mono_ms();
	x->window_bytes = 0;
	/* Calls data() at once; when that ends the exchange, libcurl tells nobody. */
	(void)curl_easy_pause(x->easy, CURLPAUSE_CONT);
	if (x->stopped != 0)
		exchange_finished(x, CURLE_WRITE_ERROR);
}

/* Go where the reply points. Returns 0 (under way again), or why not. */
static int follow(struct exchange *x, struct err *err)
{
	cleanup_free char *next = NULL;
	char what[300], where[200];
	int r = url_join(url_of(x), x->reply.location, &next);

	exchange_describe(x, what, sizeof(what));
	url_show(x->reply.location, where, sizeof(where));
	if (r == -ENOMEM)
		return err_set(err, ENOMEM, "out of memory");
	if (r < 0)
		return err_set(err, EPROTO, "%s: redirected to \"%s\", which is no URL", what,
			       where);
	for (unsigned int i = 0; i < x->n_seen; i++)
		if (strcmp(x->seen[i], next) == 0)
			return err_set(err, EPROTO, "%s: redirected in a circle", what);
	if (strcmp(x->url, next) == 0)
		return err_set(err, EPROTO, "%s: redirected in a circle", what);
	if (x->n_seen == MAX_REDIRECTS)
		return err_set(err, EPROTO, "%s: redirected more than %d times", what,
			       MAX_REDIRECTS);
	if (x->no_plain && url_is_plain(next) && !url_is_plain(url_of(x)))
		return err_set(err, EPROTO, "%s: redirected to plain HTTP", what);
	x->seen[x->n_seen] = strdup(next);
	if (x->seen[x->n_seen] == NULL)
		return err_set(err, ENOMEM, "out of memory");
	x->n_seen++;
	detach(x);
	free(x->at);
	x->at = steal_ptr(next);
	r = launch(x);
	return r < 0 ? err_set(err, -r, "%s: cannot be redirected", what) : 0;
}

static int errno_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
		return -EACCES;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_HTTP2:
	case CURLE_BAD_CONTENT_ENCODING:
		return -EPROTO;
	default:
		return -EIO;
	}
}

/* Our own reasons to stop come before what libcurl makes of them. */
static int verdict(const struct exchange *x, CURLcode code, struct err *err)
{
	char what[300];

	if (x->stopped == EXCHANGE_ENOUGH || (code == CURLE_OK && x->stopped == 0))
		return 0;
	exchange_describe(x, what, sizeof(what));
	if (x->stopped == -EPROTO && x->header_bytes > MAX_HEADER_BYTES)
		return err_set(err, EPROTO, "%s: header of more than %zu bytes", what,
			       MAX_HEADER_BYTES);
	if (x->stopped == -EPROTO && x->reply.encoded)
		return err_set(err, EPROTO, "%s: encoded, which was not asked for", what);
	if (x->stopped < 0)
		return err_errno(err, -x->stopped, "%s", what);
	return err_set(err, -errno_of(code), "%s: %s", what,
		       x->curl_error[0] != '\0' ? x->curl_error : curl_easy_strerror(code));
}

void exchange_finished(struct exchange *x, CURLcode code)
{
	struct err err = {0};
	int r = verdict(x, code, &err);

	if (r == 0 && is_redirect(x)) {
		r = follow(x, &err);
		if (r == 0)
			return;
	}
	/* A reply without a body may end before the blank line has been seen as such. */
	if (r == 0 && !x->has_head) {
		x->stopped = call_head(x);
		if (x->stopped < 0)
			r = verdict(x, code, &err);
	}
	end(x, r, &err);
}
