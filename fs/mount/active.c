/* /active: the table of what is on its way, made afresh at each open. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "mount/private.h"
#include "store/active_table.h"

#define TABLE_MAX (16U << 20)

static int add_fill(void *arg, const char *ref, uint64_t size, uint64_t total, int64_t started_ns,
		    const char *state)
{
	return active_table_add(arg, ref, size, total, started_ns, state);
}

static int render(struct mount *m, struct buf *out)
{
	struct active_table t;
	int r = 0;

	active_table_init(&t, /* wide= */ true);
	if (m->source != NULL)
		r = m->source->ops->fills(m->source, add_fill, &t);
	if (r == 0)
		r = active_table_add_store(&t, m->store);
	if (r == 0)
		r = active_table_print(&t, out);
	active_table_done(&t);
	return r;
}

static void open_job(struct job *j)
{
	struct buf *text = malloc(sizeof(*text));
	int r = -ENOMEM;

	if (text != NULL) {
		buf_init(text, TABLE_MAX);
		r = render(j->m, text);
	}
	if (r == 0) {
		j->fi.fh = (uintptr_t)text;
		j->fi.direct_io = 1; /* its size is 0 to stat(2), as that of files in /proc */
		r = fuse_reply_open(j->req, &j->fi) == 0 ? 0 : -EINTR;
	} else {
		fuse_reply_err(j->req, errno_for_kernel(r));
	}
	if (r < 0 && text != NULL) {
		buf_done(text);
		free(text);
	}
}

void active_open(fuse_req_t req, struct fuse_file_info *fi)
{
	job_start(req, INO_ACTIVE, fi, open_job, NULL);
}

void active_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	const struct buf *text = (const struct buf *)(uintptr_t)fi->fh;
	size_t at = (size_t)off < text->len ? (size_t)off : text->len;
	size_t n = size < text->len - at ? size : text->len - at;
	cleanup_free char *copy = malloc(n + 1);

	/* A copy: the reader's close() may free the text while the reply returns. */
	if (copy == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(copy, text->data + at, n);
	fuse_reply_buf(req, copy, n);
}

void active_release(fuse_req_t req, struct fuse_file_info *fi)
{
	struct buf *text = (struct buf *)(uintptr_t)fi->fh;

	buf_done(text);
	free(text);
	fuse_reply_err(req, 0);
}
