#include "dist/layer_source.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/blob.h"

static void close_blob(struct layer_stream *st)
{
	unpack_fd_close(&st->fd);
	(void)close(st->fd.fd);
}

static int open_blob(struct layer_source *ls, const struct descriptor *d, struct layer_stream *ret,
		     struct err *err)
{
	struct store_layers *l = (struct store_layers *)ls;
	cleanup_fd int fd = blob_open(l->store, &d->digest);
	int r;

	if (fd == -ENOENT)
		return err_set(err, ENOENT, "not in the store");
	if (fd < 0)
		return err_errno(err, -fd, "open");
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	r = unpack_fd_open(&ret->fd, fd);
	if (r < 0)
		return err_errno(err, -r, "open");
	ret->src = unpack_fd_source(&ret->fd);
	ret->close = close_blob;
	ret->fd.fd = steal_fd(fd);
	return 0;
}

/* Have the kernel read it while the layer before is unpacked. */
static void read_ahead(struct layer_source *ls, const struct descriptor *d)
{
	struct store_layers *l = (struct store_layers *)ls;
	cleanup_fd int fd = blob_open(l->store, &d->digest);

	if (fd >= 0)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
}

void store_layers_init(struct store_layers *l, struct store *s)
{
	l->source.open = open_blob;
	l->source.prepare = read_ahead;
	l->store = s;
}
