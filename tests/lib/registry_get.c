/*
 * The registry client, driven by lines of JSON: for integration tests.
 *
 *   registry-get [KEY=VALUE...]     hosts_dir auth_file credentials connect_ms stall_ms deadline_ms
 *                                   max_connections max_attempts: of struct registry_config
 *
 * A line on stdin: {"op": "resolve|stat|manifest|blob|any", "host", "repository", "object", and if
 * need be "mediatype", "offset", "length", "size", "avoid", "timeout_ms", "out": FILE,
 * "chunk": N (read in ranges of N bytes, one after the other), "threads": N (so many at once),
 * "slow_ms": N (the reader takes so long for each piece), "cancel_ms": N (then gives up)}.
 * {"op": "push", "file": PATH, and perhaps "from", "chunk"}, {"op": "push_manifest", "file",
 * "mediatype"}: object is the digest, or the tag; n tells bytes that the registry has.
 * A line on stdout: {"r": 0, "error", "detail", "digest", "size", "mediatype", "host", "n" (bytes
 * got), "sha256" (of them), "ms", "stats": {...}}; of a push, "how": "pushed|mounted|there".
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/log.h"
#include "registry/call.h"
#include "registry/client.h"
#include "registry/push.h"

#define MAX_THREADS 64

struct job {
	struct registry *r;
	json_t *ask;
	struct registry_name name;
	uint64_t offset, length, chunk;
	enum registry_op op;
	struct hasher *hasher;
	int out_fd;
	unsigned int slow_ms;
	uint64_t expected; /* offset of the next byte */
	uint64_t n;
	int result;
	struct err err;
	struct registry_object object;
};

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static uint64_t number_of(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static int on_bytes(void *arg, uint64_t offset, const void *p, size_t n)
{
	struct job *j = arg;
	struct timespec slow = {.tv_nsec = (long)j->slow_ms * 1000000};

	if (offset != j->expected) {
		fprintf(stderr, "bytes at %llu, not at %llu\n", (unsigned long long)offset,
			(unsigned long long)j->expected);
		abort();
	}
	j->expected += n;
	j->n += n;
	if (j->slow_ms > 0)
		(void)nanosleep(&slow, NULL);
	if (j->hasher != NULL)
		hasher_update(j->hasher, p, n);
	return j->out_fd >= 0 ? fd_pwrite_full(j->out_fd, p, n, offset) : 0;
}

static enum registry_op op_of(const char *s)
{
	static const char *const names[] = {"resolve", "stat", "manifest", "blob", "any"};

	for (int i = 0; i < 5; i++)
		if (s != NULL && strcmp(s, names[i]) == 0)
			return (enum registry_op)i;
	fprintf(stderr, "op?\n");
	exit(2); /* NOLINT(concurrency-mt-unsafe) */
}

static void run_ranges(struct job *j)
{
	uint64_t end = j->offset + j->length, at = j->offset;

	if (j->chunk == 0) {
		j->expected = j->offset;
		j->result = registry_read(j->r, j->op, &j->name, j->offset, j->length, on_bytes, j,
					  &j->object, &j->err);
		return;
	}
	for (; at < end && j->result == 0; at += j->chunk) {
		uint64_t n = end - at < j->chunk ? end - at : j->chunk;

		j->expected = at;
		j->result = registry_read(j->r, j->op, &j->name, at, n, on_bytes, j, &j->object,
					  &j->err);
	}
}

static void run_job(struct job *j)
{
	struct buf b;

	switch (j->op) {
	case REGISTRY_RESOLVE:
	case REGISTRY_STAT:
	case REGISTRY_PING:
		j->result = registry_describe(j->r, j->op, &j->name, &j->object, &j->err);
		break;
	case REGISTRY_MANIFEST:
		buf_init(&b, (size_t)4 << 20);
		j->result = registry_get_manifest(j->r, &j->name, &b, &j->object, &j->err);
		if (j->result == 0)
			(void)on_bytes(j, 0, b.data, b.len);
		buf_done(&b);
		break;
	case REGISTRY_BLOB:
	case REGISTRY_ANY:
		run_ranges(j);
		break;
	}
}

static void *thread(void *arg)
{
	run_job(arg);
	return NULL;
}

static void job_init(struct job *j, struct registry *r, json_t *ask)
{
	const char *out = text_of(ask, "out");

	*j = (struct job){.r = r, .ask = ask, .op = op_of(text_of(ask, "op"))};
	j->name = (struct registry_name){
		.host = text_of(ask, "host"),
		.repository = text_of(ask, "repository"),
		.object = text_of(ask, "object"),
		.mediatype = text_of(ask, "mediatype"),
		.size = number_of(ask, "size"),
		.avoid = text_of(ask, "avoid"),
	};
	if (number_of(ask, "timeout_ms") > 0)
		j->name.deadline_ms = clock_mono_ms() + number_of(ask, "timeout_ms");
	j->offset = number_of(ask, "offset");
	j->length = number_of(ask, "length");
	j->chunk = number_of(ask, "chunk");
	j->slow_ms = (unsigned int)number_of(ask, "slow_ms");
	j->out_fd = out != NULL ? open(out, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (json_object_get(ask, "no_hash") == NULL && hasher_new(&j->hasher) < 0)
		abort();
}

static json_t *stats_of(struct registry *r)
{
	struct registry_stats s;

	registry_stats(r, &s);
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "requests", (json_int_t)s.requests,
			 "http_requests", (json_int_t)s.http_requests, "retries",
			 (json_int_t)s.retries, "failovers", (json_int_t)s.failovers, "tokens",
			 (json_int_t)s.tokens, "bytes_in", (json_int_t)s.bytes_in, "active",
			 (json_int_t)s.active);
}

static void reply(struct job *j, uint64_t ms)
{
	struct digest d = {0};
	json_t *o;

	if (j->hasher != NULL)
		hasher_final(j->hasher, &d);
	o = json_pack("{s:i,s:s,s:i,s:s,s:I,s:s,s:s,s:I,s:s,s:I,s:o}", "r", j->result, "error",
		      j->result < 0 ? err_text(&j->err, j->result) : "", "detail", j->err.detail,
		      "digest", j->object.has_digest ? digest_text(&j->object.digest).s : "",
		      "size", j->object.has_size ? (json_int_t)j->object.size : (json_int_t)-1,
		      "mediatype", j->object.mediatype, "host", j->object.host, "n",
		      (json_int_t)j->n, "sha256", digest_text(&d).s, "ms", (json_int_t)ms, "stats",
		      stats_of(j->r));
	if (o == NULL)
		abort();
	(void)json_dumpf(o, stdout, JSON_COMPACT);
	(void)fputc('\n', stdout);
	(void)fflush(stdout);
	json_decref(o);
}

static void cancelled(struct registry_request *q, int r, const struct registry_object *o,
		      const struct err *err)
{
	struct job *j = q->arg;

	(void)o;
	if (err != NULL)
		j->err = *err;
	__atomic_store_n(&j->result, r, __ATOMIC_RELEASE);
}

static int drop(struct registry_request *q, uint64_t offset, const void *p, size_t n)
{
	struct job *j = q->arg;

	(void)offset;
	(void)p;
	j->n += n;
	return 0;
}

/* Starts it, waits, cancels it, and waits for its end: how long did that take? */
static void run_cancelled(struct job *j, unsigned int after_ms)
{
	struct registry_request q = {
		.op = j->op,
		.host = j->name.host,
		.repository = j->name.repository,
		.object = j->name.object,
		.data = drop,
		.done = cancelled,
		.arg = j,
	};
	struct timespec wait = {.tv_sec = after_ms / 1000, .tv_nsec = after_ms % 1000 * 1000000L};
	struct timespec tick = {.tv_nsec = 1000000};
	uint64_t start_ms;

	j->result = 1;
	registry_start(j->r, &q);
	(void)nanosleep(&wait, NULL);
	start_ms = clock_mono_ms();
	registry_cancel(j->r, &q);
	while (__atomic_load_n(&j->result, __ATOMIC_ACQUIRE) == 1)
		(void)nanosleep(&tick, NULL);
	reply(j, clock_mono_ms() - start_ms);
}

static void job_done(struct job *j)
{
	hasher_free(j->hasher);
	if (j->out_fd >= 0)
		(void)close(j->out_fd);
}

struct noted {
	uint64_t bytes, stop_at; /* 0: never */
};

static int note_bytes(void *arg, uint64_t bytes)
{
	struct noted *n = arg;

	n->bytes = bytes;
	return n->stop_at > 0 && bytes >= n->stop_at ? -ECANCELED : 0;
}

static int push_blob(struct registry *r, json_t *ask, int fd, uint64_t size, struct noted *n,
		     enum registry_pushed *ret_how, struct err *err)
{
	struct registry_blob b = {
		.host = text_of(ask, "host"),
		.repository = text_of(ask, "repository"),
		.from = text_of(ask, "from"),
		.size = size,
		.fd = fd,
		.chunk_bytes = number_of(ask, "chunk"),
		.progress = note_bytes,
		.arg = n,
	};

	return digest_parse(text_of(ask, "object"), &b.digest, err) < 0
		       ? -EINVAL
		       : registry_push_blob(r, &b, ret_how, err);
}

static int push_manifest(struct registry *r, json_t *ask, int fd, uint64_t size, struct err *err)
{
	char *p = malloc(size + 1);
	int k;

	if (p == NULL || fd_pread_full(fd, p, size, 0) != (ssize_t)size)
		abort();
	k = registry_push_manifest(r, text_of(ask, "host"), text_of(ask, "repository"),
				   text_of(ask, "object"), text_of(ask, "mediatype"), p, size, err);
	free(p);
	return k;
}

static void push(struct registry *r, json_t *ask, bool is_manifest)
{
	static const char *const names[] = {"pushed", "mounted", "there"};
	enum registry_pushed how = REGISTRY_PUSHED;
	int fd = open(text_of(ask, "file"), O_RDONLY | O_CLOEXEC), k;
	uint64_t start_ms = clock_mono_ms(), size = (uint64_t)lseek(fd, 0, SEEK_END);
	struct noted n = {.stop_at = number_of(ask, "stop_at")};
	struct err err = {0};
	json_t *o;

	k = is_manifest ? push_manifest(r, ask, fd, size, &err)
			: push_blob(r, ask, fd, size, &n, &how, &err);
	(void)close(fd);
	o = json_pack("{s:i,s:s,s:i,s:s,s:I,s:I,s:o}", "r", k, "error",
		      k < 0 ? err_text(&err, k) : "", "detail", err.detail, "how", names[how], "n",
		      (json_int_t)n.bytes, "ms", (json_int_t)(clock_mono_ms() - start_ms), "stats",
		      stats_of(r));
	(void)json_dumpf(o, stdout, JSON_COMPACT);
	(void)fputc('\n', stdout);
	(void)fflush(stdout);
	json_decref(o);
}

static void serve(struct registry *r, json_t *ask)
{
	static struct job jobs[MAX_THREADS];
	pthread_t threads[MAX_THREADS];
	uint64_t start_ms = clock_mono_ms(), n = number_of(ask, "threads"), bad = 0;

	if (strncmp(text_of(ask, "op"), "push", 4) == 0) {
		push(r, ask, strcmp(text_of(ask, "op"), "push_manifest") == 0);
		return;
	}
	n = n == 0 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
	for (uint64_t i = 0; i < n; i++)
		job_init(&jobs[i], r, ask);
	if (number_of(ask, "cancel_ms") > 0) {
		run_cancelled(&jobs[0], (unsigned int)number_of(ask, "cancel_ms"));
	} else {
		for (uint64_t i = 0; i < n; i++)
			if (pthread_create(&threads[i], NULL, thread, &jobs[i]) != 0)
				abort();
		for (uint64_t i = 0; i < n; i++)
			(void)pthread_join(threads[i], NULL);
		while (bad + 1 < n && jobs[bad].result == 0)
			bad++; /* the first that failed speaks for all */
		reply(&jobs[bad], clock_mono_ms() - start_ms);
	}
	for (uint64_t i = 0; i < n; i++)
		job_done(&jobs[i]);
}

static void configure(struct registry_config *c, const char *arg)
{
	static const char *const numbers[] = {"connect_ms", "stall_ms", "deadline_ms"};
	uint64_t *const at[] = {&c->connect_ms, &c->stall_ms, &c->deadline_ms};
	const char *value = strchr(arg, '=');

	if (value == NULL)
		return;
	value++;
	for (int i = 0; i < 3; i++)
		if (strncmp(arg, numbers[i], strlen(numbers[i])) == 0)
			*at[i] = strtoull(value, NULL, 10);
	if (strncmp(arg, "hosts_dir=", 10) == 0)
		c->hosts_dir = value;
	else if (strncmp(arg, "auth_file=", 10) == 0)
		c->auth_file = value;
	else if (strncmp(arg, "credentials=", 12) == 0)
		c->credentials = value;
	else if (strncmp(arg, "max_connections=", 16) == 0)
		c->max_connections = (unsigned int)strtoul(value, NULL, 10);
	else if (strncmp(arg, "max_attempts=", 13) == 0)
		c->max_attempts = (unsigned int)strtoul(value, NULL, 10);
}

int main(int argc, char **argv)
{
	struct registry_config c = {0};
	struct registry *r = NULL;
	struct err err = {0};
	char *line = NULL;
	size_t size = 0;

	log_init("registry-get");
	c.debug = log_enabled(LOG_LEVEL_DEBUG);
	for (int i = 1; i < argc; i++)
		configure(&c, argv[i]);
	if (registry_new(&c, &r, &err) < 0) {
		fprintf(stderr, "registry-get: %s\n", err.msg);
		return 1;
	}
	while (getline(&line, &size, stdin) > 0) {
		json_error_t where;
		json_t *ask = json_loads(line, 0, &where);

		if (ask == NULL) {
			fprintf(stderr, "registry-get: %s\n", where.text);
			return 2;
		}
		serve(r, ask);
		json_decref(ask);
	}
	free(line);
	registry_free(r);
	return 0;
}
