#include "dist/image_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "base/fd.h"
#include "oci/chainid.h"

static int check(const struct image *im, const struct unpacked_layer *l, struct err *err)
{
	const struct digest *want = &im->config->diff_ids[l->n];

	if (!digest_equal(&l->result.digest, &l->descriptor->digest))
		return err_set(err, EBADMSG, "damaged: its bytes have the digest %s",
			       digest_text(&l->result.digest).s);
	if (l->result.size != l->descriptor->size)
		return err_set(err, EBADMSG, "%llu bytes, the manifest says %llu",
			       (unsigned long long)l->result.size,
			       (unsigned long long)l->descriptor->size);
	if (!digest_equal(&l->result.diff_id, want))
		return err_set(err, EBADMSG, "wrong diffID %s, the config says %s",
			       digest_text(&l->result.diff_id).s, digest_text(want).s);
	return 0;
}

static int unpack_one(const struct image_unpack *u, int root_fd,
		      const struct unpack_options *options, struct unpacked_layer *l,
		      struct err *err)
{
	struct layer_stream st = {0};
	int r;

	if (!mediatype_is_layer(l->descriptor->mediatype))
		return err_set(err, EOPNOTSUPP, "media type %s is not unpacked",
			       l->descriptor->mediatype);
	r = u->source->open(u->source, l->descriptor, &st, err);
	if (r < 0)
		return r;
	r = unpack_layer(root_fd, &st.src, options, &l->result, err);
	st.close(&st);
	return r == 0 ? check(u->image, l, err) : r;
}

/* What is left of a bound; the last unit stays, for 0 is no bound. */
static uint64_t left(uint64_t bound, uint64_t used)
{
	return bound == 0 ? 0 : bound > used ? bound - used : 1;
}

int image_unpack(const struct image_unpack *u, int root_fd, struct err *err)
{
	const struct manifest *m = u->image->manifest;
	struct unpack_options options = u->options;
	struct digest chain;
	int r = 0;

	for (size_t i = 0; i < m->n_entries && r == 0; i++) {
		struct unpacked_layer l = {.n = i, .descriptor = &m->entries[i]};

		if (i + 1 < m->n_entries && u->source->prepare != NULL)
			u->source->prepare(u->source, &m->entries[i + 1]);
		r = unpack_one(u, root_fd, &options, &l, err);
		if (r == 0)
			r = chainid_next(i > 0 ? &chain : NULL, &l.result.diff_id, &chain);
		if (r < 0)
			return err_wrap(err, r, "layer %zu of %zu, %s", i + 1, m->n_entries,
					digest_text(&l.descriptor->digest).s);
		l.chain_id = chain;
		options.max_bytes = left(options.max_bytes, l.result.diff_size);
		options.max_entries = left(options.max_entries, l.result.n_entries);
		if (u->done != NULL)
			u->done(u->arg, &l);
	}
	return r;
}

static int is_empty(int fd)
{
	cleanup_dir DIR *dir = dir_open(fd, ".");

	if (dir == NULL)
		return -errno;
	if (dir_next(dir) != NULL)
		return 0;
	return errno != 0 ? -errno : 1;
}

int unpack_dir_open(const char *path, mode_t mode, bool *ret_made, struct err *err)
{
	bool made = mkdir(path, mode) == 0;
	cleanup_fd int fd = -1;
	int r;

	if (!made && errno != EEXIST)
		return err_errno(err, errno, "make directory \"%s\"", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "directory \"%s\"", path);
	r = is_empty(fd);
	if (r < 0)
		return err_errno(err, -r, "directory \"%s\"", path);
	if (r == 0)
		return err_set(err, EEXIST, "directory \"%s\" is not empty", path);
	*ret_made = made;
	return steal_fd(fd);
}

void unpack_dir_undo(const char *path, bool made)
{
	cleanup_fd int fd = -1;
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;

	if (made) {
		(void)fd_remove_tree(AT_FDCWD, path);
		return;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? dir_open(fd, ".") : NULL;
	while (dir != NULL && (e = dir_next(dir)) != NULL)
		(void)fd_remove_tree(fd, e->d_name);
}
