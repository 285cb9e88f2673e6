#include "registry/push.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "oci/mediatype.h"
#include "registry/fields.h"
#include "registry/step.h"
#include "registry/url.h"

#define CHUNK_BYTES ((uint64_t)32 << 20)
#define MAX_FAILS 5    /* without a byte more at the registry */
#define MAX_UPLOADS 3  /* begun anew: the registry forgot one */
#define BEGIN_ANEW 1   /* what an upload's steps return for that */
#define IN_ONE_PIECE 2 /* ... where chunks are refused */

struct upload {
	struct registry *r;
	const struct registry_blob *b;
	char *location;	 /* where the next chunk goes */
	uint64_t offset; /* bytes that the registry has */
	uint64_t chunk_bytes;
	unsigned int fails; /* in a row */
};

/* Run it and take the location that it leads to, if any. */
static int run(struct upload *u, struct step *s, struct err *err)
{
	int r = step_run(u->r, s, err);

	if (r == 0 && s->location != NULL) {
		free(u->location);
		u->location = steal_ptr(s->location);
	}
	return r;
}

static void init(struct upload *u, struct step *s, enum exchange_method method)
{
	step_init(s, u->b->host, u->b->repository);
	s->from = u->b->from;
	s->method = method;
}

/* 1: the repository has it, 0: it has not. */
static int is_there(struct upload *u, struct err *err)
{
	char path[128];
	struct step s;
	int r;

	init(u, &s, EXCHANGE_HEAD);
	(void)snprintf(path, sizeof(path), "blobs/%s", digest_text(&u->b->digest).s);
	s.path = path;
	r = step_run(u->r, &s, err);
	if (r == 0)
		r = s.status == 200 ? 1 : s.status == 404 ? 0 : step_refused(&s, err);
	if (r < 0 && s.status == 405) /* no HEAD here: send it */
		r = 0;
	step_done(&s);
	return r;
}

/* Where to send it; *ret_mounted: no need to. */
static int begin(struct upload *u, bool mount, bool *ret_mounted, struct err *err)
{
	cleanup_buf struct buf path;
	struct step s;
	int r;

	buf_init(&path, URL_MAX_BYTES);
	r = buf_puts(&path, "blobs/uploads/");
	if (r == 0 && mount)
		r = url_add_query(&path, "mount", digest_text(&u->b->digest).s);
	if (r == 0 && mount)
		r = url_add_query(&path, "from", u->b->from);
	if (r < 0)
		return err_set(err, ENOMEM, "out of memory");
	init(u, &s, EXCHANGE_POST);
	s.path = path.data;
	u->offset = 0;
	free(u->location);
	u->location = NULL;
	r = run(u, &s, err);
	*ret_mounted = r == 0 && mount && s.status == 201;
	if (r == 0 && s.status != 202 && !*ret_mounted)
		r = step_refused(&s, err);
	else if (r == 0 && !*ret_mounted && u->location == NULL)
		r = err_set(err, EPROTO, "%s: status 202 without a Location", s.what);
	if (r == 0 && s.chunk_min > u->chunk_bytes)
		u->chunk_bytes = s.chunk_min;
	step_done(&s);
	return r;
}

/* What the registry has got of it. 0, BEGIN_ANEW, or an error. */
static int ask_offset(struct upload *u, struct err *err)
{
	struct step s;
	uint64_t next = 0;
	int r;

	init(u, &s, EXCHANGE_GET);
	s.url = u->location;
	r = run(u, &s, err);
	if (r == 0 && s.status != 404 && s.status != 204 && s.status != 202 && s.status != 200)
		r = step_refused(&s, err);
	else if (r == 0 && (s.status == 404 || upload_range_parse(s.upload_range, &next) < 0 ||
			    next > u->b->size))
		r = BEGIN_ANEW;
	else if (r == 0)
		u->offset = next;
	step_done(&s);
	return r;
}

/* After a failure that is no refusal: from where to go on? */
static int recover(struct upload *u, uint64_t offset, int why, const struct err *why_err,
		   struct err *err)
{
	int r;

	if (++u->fails > MAX_FAILS) {
		if (err != NULL)
			*err = *why_err;
		return why;
	}
	r = ask_offset(u, err);
	if (r == 0 && u->offset > offset)
		u->fails = 0;
	return r;
}

/* Whether the reply of a chunk up to end says that it is there. */
static bool has_chunk(const struct step *s, uint64_t end)
{
	uint64_t next;

	if (s->status != 202 && s->status != 201 && s->status != 204)
		return false;
	if (upload_range_parse(s->upload_range, &next) < 0)
		return true; /* it says nothing else */
	return next == end || (next == 0 && end == 1);
}

static bool refuses_chunks(const struct step *s)
{
	return s->status == 400 || s->status == 404 || s->status == 405 || s->status == 411 ||
	       s->status == 415;
}

/* One PATCH. 0: go on from u->offset. */
static int send_chunk(struct upload *u, struct err *err)
{
	uint64_t left = u->b->size - u->offset, from = u->offset;
	uint64_t n = left < u->chunk_bytes ? left : u->chunk_bytes;
	struct err why = {0};
	char range[64];
	struct step s;
	int r;

	init(u, &s, EXCHANGE_PATCH);
	(void)snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, from, from + n - 1);
	s.url = u->location;
	s.content_type = "application/octet-stream";
	s.content_range = range;
	s.body_fd = u->b->fd;
	s.body_offset = from;
	s.body_len = n;
	s.once = true;
	r = run(u, &s, &why);
	if (r == 0 && has_chunk(&s, from + n)) {
		u->offset = from + n;
		u->fails = 0;
	} else if (r == 0 && s.status != 416 && s.status >= 300) {
		r = from == 0 && refuses_chunks(&s) ? IN_ONE_PIECE : step_refused(&s, err);
	} else if (r == 0 || r == -EIO || r == -ETIMEDOUT) {
		if (r == 0)
			r = err_set(&why, EPROTO, "%s: it has other bytes than it was sent",
				    s.what);
		r = recover(u, from, r, &why, err);
	} else if (err != NULL) {
		*err = why;
	}
	step_done(&s);
	return r;
}

/* The PUT that makes it a blob; with the whole of it, or nothing behind the chunks. */
static int complete(struct upload *u, bool whole, struct err *err)
{
	cleanup_buf struct buf url;
	struct step s;
	int r;

	buf_init(&url, URL_MAX_BYTES);
	r = buf_puts(&url, u->location);
	if (r == 0)
		r = url_add_query(&url, "digest", digest_text(&u->b->digest).s);
	if (r < 0)
		return err_set(err, -r, "the location of an upload is too long");
	init(u, &s, EXCHANGE_PUT);
	s.url = url.data;
	s.content_type = "application/octet-stream";
	s.once = true;
	if (whole) {
		s.body_fd = u->b->fd;
		s.body_len = u->b->size;
	}
	r = step_run(u->r, &s, err);
	if (r == 0 && s.status != 201 && s.status != 204)
		r = strstr(s.reason, "DIGEST_INVALID") != NULL
			    ? err_set(err, EBADMSG, "%s: %s", s.what, s.reason)
			    : step_refused(&s, err);
	step_done(&s);
	/* Where the reply was lost, or a first try had done it, the blob is there. */
	if (r < 0 && r != -EBADMSG && r != -EACCES && is_there(u, NULL) == 1)
		return 0;
	return r == -EIO || r == -ETIMEDOUT || r == -ENOENT ? BEGIN_ANEW : r;
}

static int send_all(struct upload *u, bool whole, struct err *err)
{
	while (!whole && u->offset < u->b->size) {
		int r = send_chunk(u, err);

		if (r == 0 && u->b->progress != NULL)
			r = u->b->progress(u->b->arg, u->offset);
		if (r != 0)
			return r;
	}
	return complete(u, whole, err);
}

int registry_push_blob(struct registry *r, const struct registry_blob *b,
		       enum registry_pushed *ret_how, struct err *err)
{
	struct upload u = {.r = r, .b = b, .chunk_bytes = b->chunk_bytes};
	bool whole = false, mounted = false;
	int k = is_there(&u, err);

	if (u.chunk_bytes == 0)
		u.chunk_bytes = CHUNK_BYTES;
	if (k == 1) {
		*ret_how = REGISTRY_WAS_THERE;
		return 0;
	}
	for (int n = 0; k >= 0 && n < MAX_UPLOADS + whole; n++) {
		bool mount = b->from != NULL && n == 0;

		k = begin(&u, mount, &mounted, err);
		if (k < 0 && mount) /* where mounting is refused it is sent */
			k = begin(&u, /* mount= */ false, &mounted, err);
		if (k == 0 && !mounted)
			k = send_all(&u, whole, err);
		if (k <= 0)
			break;
		whole = whole || k == IN_ONE_PIECE;
	}
	free(u.location);
	if (k > 0)
		k = err_set(err, EIO, "%s/%s: the registry loses what it was sent", b->host,
			    b->repository);
	if (k == 0)
		*ret_how = mounted ? REGISTRY_MOUNTED : REGISTRY_PUSHED;
	return k;
}

int registry_push_manifest(struct registry *r, const char *host, const char *repository,
			   const char *reference, const char *mediatype, const void *p, size_t n,
			   struct err *err)
{
	cleanup_buf struct buf path;
	struct digest d, told;
	struct step s;
	int k = digest_of(p, n, &d);

	buf_init(&path, URL_MAX_BYTES);
	if (!mediatype_is_valid(mediatype))
		return err_set(err, EINVAL, "\"%.100s\" is no media type", mediatype);
	if (!url_is_path(reference, "._-:"))
		return err_set(err, EINVAL, "\"%.100s\" is no tag or digest", reference);
	if (k == 0)
		k = buf_puts(&path, "manifests/");
	if (k == 0)
		k = buf_puts(&path, reference);
	if (k < 0)
		return err_set(err, ENOMEM, "out of memory");
	step_init(&s, host, repository);
	s.method = EXCHANGE_PUT;
	s.path = path.data;
	s.content_type = mediatype;
	s.body = p;
	s.body_len = n;
	k = step_run(r, &s, err);
	if (k == 0 && s.status != 201 && s.status != 200 && s.status != 204)
		k = step_refused(&s, err);
	else if (k == 0 && s.digest[0] != '\0' && digest_parse(s.digest, &told, NULL) == 0 &&
		 !digest_equal(&d, &told))
		k = err_set(err, EPROTO, "%s: filed under %s", s.what, s.digest);
	step_done(&s);
	return k;
}
