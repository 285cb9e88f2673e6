/*
 * Extended attributes: what is known of a blob, what an ingest expects, the status of the mount.
 *
 * Every name outside user.* is EOPNOTSUPP, which ls and cp take as "no ACLs, no labels here" for
 * the whole file system: ENODATA would make ls -l ask once per file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/size.h"
#include "mount/ingest_file.h"
#include "mount/private.h"
#include "store/blob.h"
#include "store/label.h"

#define VALUE_MAX 65536U
#define PINNED "user.pinned" /* "yes", or "part" of a pinned image (label.h) */

struct blob_facts {
	struct digest_text digest;
	const char *state;
	const char *pinned; /* NULL: it is not */
	char source[LABEL_SOURCES_MAX * 256];
	char mediatype[128];
	char error[256];
};

static int blob_facts(struct mount *m, fuse_ino_t ino, struct blob_facts *f)
{
	cleanup_free struct label *label = NULL;
	struct blob_info info = {0};
	struct digest d;
	bool pending;
	size_t used = 0;

	memset(f, 0, sizeof(*f));
	if (!blob_table_get(m->blobs, (uint32_t)ino, &d, &pending))
		return -ESTALE;
	f->digest = digest_text(&d);
	f->state = "complete";
	label = malloc(sizeof(*label));
	if (label == NULL)
		return -ENOMEM;
	if (label_read(m->store, &d, label) == 0) {
		(void)snprintf(f->mediatype, sizeof(f->mediatype), "%s", label->mediatype);
		if (label->pin != LABEL_UNPINNED)
			f->pinned = label->pin == LABEL_PINNED ? "yes" : "part";
		for (size_t i = 0; i < label->n_sources && used < sizeof(f->source); i++)
			used += (size_t)snprintf(f->source + used, sizeof(f->source) - used, "%s%s",
						 i > 0 ? "," : "", label->source[i]);
	}
	if (m->source != NULL && m->source->ops->describe(m->source, &d, &info) == 0) {
		if (f->mediatype[0] == '\0')
			(void)snprintf(f->mediatype, sizeof(f->mediatype), "%s", info.mediatype);
		if (f->source[0] == '\0')
			(void)snprintf(f->source, sizeof(f->source), "%s", info.source);
		(void)snprintf(f->error, sizeof(f->error), "%s", info.error);
	}
	if (!blob_exists(m->store, &d))
		f->state = info.local > 0 ? "partial" : "remote";
	return 0;
}

/* fn is called with each attribute that the node has; a non-zero result ends the walk. */
typedef int attr_fn(void *arg, const char *name, const char *value);

static int blob_attrs(struct mount *m, fuse_ino_t ino, attr_fn *fn, void *arg)
{
	cleanup_free struct blob_facts *f = malloc(sizeof(*f));
	int r = f == NULL ? -ENOMEM : blob_facts(m, ino, f);

	if (r == 0)
		r = fn(arg, "user.digest", f->digest.s);
	if (r == 0)
		r = fn(arg, "user.state", f->state);
	if (r == 0 && f->source[0] != '\0')
		r = fn(arg, "user.source", f->source);
	if (r == 0 && f->mediatype[0] != '\0')
		r = fn(arg, "user.mediatype", f->mediatype);
	if (r == 0 && f->pinned != NULL)
		r = fn(arg, PINNED, f->pinned);
	if (r == 0 && f->error[0] != '\0')
		r = fn(arg, "user.error", f->error);
	return r;
}

static int ref_attrs(struct mount *m, fuse_ino_t ino, attr_fn *fn, void *arg)
{
	cleanup_free struct ingest_status *st = malloc(sizeof(*st));
	struct ref_info info;
	char number[24];
	int r;

	if (!ref_tree_get(m->refs, (uint32_t)ino, &info))
		return -ESTALE;
	if (info.is_dir)
		return 0;
	r = st == NULL ? -ENOMEM : ingest_stat(m->store, info.ref, st);
	if (r == 0)
		r = fn(arg, "user.ref", st->ref);
	if (r == 0 && st->has_expected)
		r = fn(arg, "user.expected.digest", digest_text(&st->expected).s);
	if (r == 0 && st->total > 0) {
		(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)st->total);
		r = fn(arg, "user.expected.size", number);
	}
	if (r == 0 && st->failed[0] != '\0')
		r = fn(arg, "user.error", st->failed);
	return r;
}

static int root_attrs(struct mount *m, attr_fn *fn, void *arg)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, VALUE_MAX);
	r = mount_status(m, &b);
	return r < 0 ? r : fn(arg, MOUNT_STATUS_XATTR, b.data);
}

static int each_attr(struct mount *m, fuse_ino_t ino, attr_fn *fn, void *arg)
{
	if (ino_is_blob(ino))
		return blob_attrs(m, ino, fn, arg);
	if (ino_is_ref(ino))
		return ref_attrs(m, ino, fn, arg);
	return ino == INO_ROOT ? root_attrs(m, fn, arg) : 0;
}

/* getxattr(2) and listxattr(2): size 0 asks for the length, too small a buffer is ERANGE. */
static void reply_value(fuse_req_t req, size_t size, const struct buf *b)
{
	if (size == 0)
		fuse_reply_xattr(req, b->len);
	else if (b->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, b->data, b->len);
}

struct wanted {
	const char *name;
	struct buf *value;
};

static int take_wanted(void *arg, const char *name, const char *value)
{
	struct wanted *w = arg;
	int r;

	if (strcmp(name, w->name) != 0)
		return 0;
	r = buf_puts(w->value, value);
	return r < 0 ? r : 1;
}

void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	cleanup_buf struct buf b;
	struct wanted w = {.name = name, .value = &b};
	int r;

	buf_init(&b, VALUE_MAX);
	if (strncmp(name, "user.", 5) != 0) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	r = each_attr(mount_of(req), ino, take_wanted, &w);
	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else if (r == 0)
		fuse_reply_err(req, ENODATA);
	else
		reply_value(req, size, &b);
}

static int add_name(void *arg, const char *name, const char *value)
{
	(void)value;
	return buf_add(arg, name, strlen(name) + 1);
}

void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct mount *m = mount_of(req);
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, VALUE_MAX);
	r = each_attr(m, ino, add_name, &b);
	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else
		reply_value(req, size, &b);
}

struct expectation {
	bool has_digest;
	struct digest digest;
	uint64_t size;
	struct err err;
};

static int apply_expectation(struct ingest *i, void *arg)
{
	struct expectation *x = arg;

	return x->has_digest ? ingest_set_expected(i, &x->digest, &x->err)
			     : ingest_set_total(i, x->size, &x->err);
}

static int parse_expectation(const char *name, const char *value, size_t size,
			     struct expectation *x)
{
	char text[256];

	if (size >= sizeof(text))
		return err_set(&x->err, EINVAL, "%s: too long", name);
	memcpy(text, value, size);
	text[size] = '\0';
	if (strcmp(name, "user.expected.digest") == 0) {
		x->has_digest = true;
		return digest_parse(text, &x->digest, &x->err);
	}
	if (strcmp(name, "user.expected.size") == 0) {
		if (size_parse_plain(text, &x->size) < 0)
			return err_set(&x->err, EINVAL, "%s: \"%s\" is no number of bytes", name,
				       text);
		return 0;
	}
	return err_set(&x->err, EOPNOTSUPP, "no attribute \"%s\" can be set", name);
}

static int set_on_ref(struct mount *m, const char *ref, struct expectation *x)
{
	struct ingest_file *f = ref_tree_writer(m->refs, ref, ingest_file_ref);
	struct ingest *i = NULL;
	int r;

	if (f != NULL) {
		r = ingest_file_with(f, apply_expectation, x);
		(void)ingest_file_unref(f);
		if (r != -ECANCELED)
			return r;
	}
	r = ingest_open(m->store, ref, 0, &i, &x->err);
	if (r == 0)
		r = apply_expectation(i, x);
	(void)ingest_close(i);
	return r;
}

struct pinning {
	struct digest digest;
	enum label_pin pin;
	bool remove; /* it must be there */
};

static void pin_job(struct job *j)
{
	struct pinning *p = j->arg;
	int r = label_set_pin(j->m->store, &p->digest, p->pin);
	bool none = r == 0 && p->remove;

	free(p);
	/* errno_for_kernel() has another meaning for ENODATA. */
	if (r < 0)
		fuse_reply_err(j->req, errno_for_kernel(r));
	else
		fuse_reply_err(j->req, none ? ENODATA : 0);
}

/* Who may: the owner of the blob, or of the store where it is not here. */
static int check_owner(struct mount *m, fuse_req_t req, const struct digest *d)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	struct stat st;

	if (m->read_only)
		return -EROFS;
	if (blob_stat(m->store, d, &st) < 0)
		st = m->root;
	return uid == 0 || uid == st.st_uid ? 0 : -EPERM;
}

static void set_pin(fuse_req_t req, fuse_ino_t ino, enum label_pin pin, bool remove)
{
	struct mount *m = mount_of(req);
	struct pinning *p = malloc(sizeof(*p));
	bool pending;
	int r = p == NULL ? -ENOMEM : 0;

	if (r == 0 && !blob_table_get(m->blobs, (uint32_t)ino, &p->digest, &pending))
		r = -ESTALE;
	if (r == 0)
		r = check_owner(m, req, &p->digest);
	if (r < 0) {
		free(p);
		fuse_reply_err(req, errno_for_kernel(r));
		return;
	}
	p->pin = pin;
	p->remove = remove;
	job_start(req, ino, NULL, pin_job, p);
}

static bool is_text(const char *value, size_t size, const char *text)
{
	return size == strlen(text) && memcmp(value, text, size) == 0;
}

static void set_on_blob(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size)
{
	if (strcmp(name, PINNED) != 0) /* cp -a goes on after "not supported" */
		fuse_reply_err(req, strncmp(name, "user.", 5) == 0 ? EROFS : EOPNOTSUPP);
	else if (is_text(value, size, "yes") || is_text(value, size, "1"))
		set_pin(req, ino, LABEL_PINNED, /* remove= */ false);
	else if (is_text(value, size, "part"))
		set_pin(req, ino, LABEL_PINNED_PART, /* remove= */ false);
	else if (is_text(value, size, "no") || is_text(value, size, "0"))
		set_pin(req, ino, LABEL_UNPINNED, /* remove= */ false);
	else
		fuse_reply_err(req, EINVAL);
}

void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (ino_is_blob(ino) && strcmp(name, PINNED) == 0)
		set_pin(req, ino, LABEL_UNPINNED, /* remove= */ true);
	else
		fuse_reply_err(req, ino_is_blob(ino) && strncmp(name, "user.", 5) == 0
					    ? EROFS
					    : EOPNOTSUPP);
}

void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size)
{
	struct mount *m = mount_of(req);
	struct expectation x = {0};
	struct ref_info info;
	int r;

	if (ino_is_blob(ino)) {
		set_on_blob(req, ino, name, value, size);
		return;
	}
	if (!ino_is_ref(ino)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	if (!ref_tree_get(m->refs, (uint32_t)ino, &info)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	r = info.is_dir ? -EOPNOTSUPP : parse_expectation(name, value, size, &x);
	if (r == 0)
		r = set_on_ref(m, info.ref, &x);
	if (r < 0)
		log_debug("ingest", "\"%s\": set %s: %s", info.ref, name, err_text(&x.err, r));
	fuse_reply_err(req, errno_for_kernel(r));
}
