/*
 * dist fetch: an object of a registry to standard output.
 *
 *   network thread: data() -> queue (bounded: a slow reader pauses the request) -> main: hash,
 * write
 *
 * What the digest of the object says is verified before the last bytes are written: HOLD_BYTES stay
 * back until then, so that nobody sees the whole of something wrong. Smaller objects are verified
 * before the first byte is.
 *
 * In `dist fetch | dist ingest --expected-digest D` the reader goes away at once when it has D. So
 * that little is transferred for nothing, a pipe is first given no more than a page, of
 * PROBE_BYTES, and the rest is asked for once somebody has read that.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/remote.h"
#include "oci/manifest.h"
#include "registry/call.h"

#define HOLD_BYTES ((size_t)64 << 10)
#define HELD_MAX ((size_t)32 << 20) /* and what the client hands over at once */
#define PROBE_BYTES ((size_t)4096)  /* the least that a pipe can be made to hold */
#define PIPE_BYTES (1 << 20)

struct fetch {
	struct registry *registry;
	struct reference name;
	const char *object;
	const char *mediatype; /* of the last hint, or NULL */
	uint64_t deadline_ms;
	bool to_pipe;

	struct hasher *hasher;
	struct buf held;    /* hashed, not written yet */
	uint64_t n_fetched; /* bytes that were hashed */
	struct err err;	    /* why take() failed */
};

/* As a write would: SIGPIPE, and an error where that is ignored. */
static int reader_is_gone(struct err *err)
{
	(void)raise(SIGPIPE);
	return err_errno(err, EPIPE, "write to standard output");
}

/* 0: stdout takes some; -EPIPE: nobody reads; -ETIMEDOUT: it took nothing until the deadline. */
static int wait_for_reader(const struct fetch *f, struct err *err)
{
	struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};

	for (;;) {
		uint64_t now = clock_mono_ms();
		int timeout_ms = -1;

		if (f->deadline_ms > 0 && now >= f->deadline_ms)
			return err_set(err, ETIMEDOUT, "timed out, %llu bytes were fetched",
				       (unsigned long long)f->n_fetched);
		if (f->deadline_ms > 0)
			timeout_ms = f->deadline_ms - now > 3600000 ? 3600000
								    : (int)(f->deadline_ms - now);
		if (poll(&p, 1, timeout_ms) > 0)
			return (p.revents & POLLERR) != 0 ? reader_is_gone(err) : 0;
	}
}

/* The first n bytes of what is held. With a deadline in pieces that a pipe takes without waiting.
 */
static int write_held(struct fetch *f, size_t n, struct err *err)
{
	size_t done = 0;
	int r = 0;

	while (done < n && r == 0) {
		size_t some = n - done;

		if (f->deadline_ms > 0) {
			some = some < PROBE_BYTES ? some : PROBE_BYTES;
			r = wait_for_reader(f, err);
		}
		if (r < 0)
			return r;
		r = fd_write_full(STDOUT_FILENO, f->held.data + done, some);
		if (r < 0)
			return err_errno(err, -r, "write to standard output");
		done += some;
	}
	buf_consume(&f->held, n);
	return r;
}

/* Bytes of the object through the hash into what is held, and on what is more than that. */
static int take(void *arg, uint64_t offset, const void *p, size_t n)
{
	struct fetch *f = arg;
	int r;

	(void)offset;
	hasher_update(f->hasher, p, n);
	f->n_fetched += n;
	r = buf_add(&f->held, p, n);
	if (r == 0 && f->held.len > HOLD_BYTES)
		r = write_held(f, f->held.len - HOLD_BYTES, &f->err);
	return r;
}

static struct registry_name registry_name(const struct fetch *f)
{
	return (struct registry_name){
		.host = f->name.host,
		.repository = f->name.repository,
		.object = f->object,
		.mediatype = f->mediatype,
		.deadline_ms = f->deadline_ms,
	};
}

static int fetch_manifest(struct fetch *f, struct err *err)
{
	struct registry_name name = registry_name(f);
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MANIFEST_MAX_BYTES);
	r = registry_get_manifest(f->registry, &name, &b, NULL, err);
	return r == 0 ? take(f, 0, b.data, b.len) : r;
}

/* length bytes more; 0: all. */
static int fetch_bytes(struct fetch *f, uint64_t length, struct registry_object *ret,
		       struct err *err)
{
	struct registry_name name = registry_name(f);
	int r = registry_read(f->registry, REGISTRY_ANY, &name, f->n_fetched, length, take, f, ret,
			      err);

	if (r < 0 && f->err.code != 0)
		*err = f->err;
	return r;
}

/* Give the pipe one page and see it read, if so much is sure to be far from the end. */
static int probe_reader(struct fetch *f, const struct registry_object *o, struct err *err)
{
	int r = 0;

	if (o->size > f->n_fetched + HOLD_BYTES && f->held.len >= PROBE_BYTES &&
	    fcntl(STDOUT_FILENO, F_SETPIPE_SZ, (int)PROBE_BYTES) >= 0) {
		r = write_held(f, PROBE_BYTES, err);
		if (r == 0)
			r = wait_for_reader(f, err);
	}
	(void)fcntl(STDOUT_FILENO, F_SETPIPE_SZ, PIPE_BYTES); /* fewer wake-ups, if it may be */
	return r;
}

/* A digest: a blob, else a manifest; the client minds what the hint says. */
static int fetch_digest(struct fetch *f, struct err *err)
{
	bool hinted = f->mediatype != NULL &&
		      (mediatype_is_manifest(f->mediatype) || mediatype_is_index(f->mediatype));
	struct registry_object o = {0};
	int r;

	if (!f->to_pipe || hinted)
		return fetch_bytes(f, 0, NULL, err);
	r = wait_for_reader(f, err);
	if (r == 0)
		r = fetch_bytes(f, PROBE_BYTES, &o, err);
	if (r == 0 && f->n_fetched == PROBE_BYTES && (!o.has_size || o.size > PROBE_BYTES)) {
		r = probe_reader(f, &o, err);
		if (r == 0)
			r = fetch_bytes(f, 0, NULL, err);
	}
	return r;
}

static int fetch(struct fetch *f, struct err *err)
{
	struct digest got;
	int r = f->name.has_digest ? fetch_digest(f, err) : fetch_manifest(f, err);

	if (r < 0)
		return r;
	hasher_final(f->hasher, &got);
	if (f->name.has_digest && !digest_equal(&got, &f->name.digest))
		return err_set(err, EBADMSG, "unexpected digest: %s != %s, its end is held back",
			       digest_text(&got).s, digest_text(&f->name.digest).s);
	return write_held(f, f->held.len, err);
}

/* "kind:value"; kinds that nobody knows, and words that are no hint, are passed over. */
static void take_hints(struct fetch *f, char **hints)
{
	for (; *hints != NULL; hints++)
		if (strncmp(*hints, "mediatype:", strlen("mediatype:")) == 0 &&
		    mediatype_is_valid(*hints + strlen("mediatype:")))
			f->mediatype = *hints + strlen("mediatype:");
}

static int set_object(const struct cli_program *p, struct fetch *f, const char *remote,
		      const char *object)
{
	struct err err = {0};
	int r = remote_name(remote, object, &f->name, &err);

	if (r < 0)
		return cli_fail(p, NULL, &err, r);
	f->object = object;
	return CLI_OK;
}

static int run(const struct cli_program *p, struct fetch *f)
{
	struct err err = {0};
	struct stat st;
	int r = hasher_new(&f->hasher);

	if (r < 0)
		return cli_fail(p, NULL, NULL, r);
	buf_init(&f->held, HELD_MAX);
	f->to_pipe = fstat(STDOUT_FILENO, &st) == 0 && S_ISFIFO(st.st_mode);
	r = fetch(f, &err);
	if (r < 0)
		(void)err_wrap(&err, r, "fetch %s/%s %.80s", f->name.host, f->name.repository,
			       f->object);
	buf_done(&f->held);
	f->hasher = hasher_free(f->hasher);
	return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
}

int cmd_fetch(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {REMOTE_OPTIONS, {0}};
	cleanup(registry_freep) struct registry *registry = NULL;
	struct fetch f = {0};
	struct remote re;
	int o, status;

	if (remote_init(p, &re) != CLI_OK)
		return CLI_FAILED;
	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (remote_option(p, &re, o) != CLI_OK)
			return CLI_FAILED;
	}
	argc -= optind;
	argv += optind;
	if (argc < 1)
		return cli_usage_error(p, "remote required");
	if (argc < 2)
		return cli_usage_error(p, "object required");
	if (set_object(p, &f, argv[0], argv[1]) != CLI_OK)
		return CLI_FAILED;
	take_hints(&f, argv + 2);
	log_info("fetch", "fetching remote=\"%s\" object=\"%s\"", argv[0], argv[1]);
	if (remote_open(p, &re, &registry) != CLI_OK)
		return CLI_FAILED;
	f.registry = registry;
	f.deadline_ms = re.deadline_ms;
	return run(p, &f);
}
