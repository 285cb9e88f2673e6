#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "store/blob.h"
#include "store/store_private.h"

struct digests {
	struct digest *at;
	size_t n, cap;
};

static void digests_done(struct digests *l)
{
	free(l->at);
}

static int add(struct digests *l, const struct digest *d)
{
	if (l->n == l->cap) {
		size_t cap = l->cap > 0 ? l->cap * 2 : 1024;
		struct digest *at = reallocarray(l->at, cap, sizeof(*at));

		if (at == NULL)
			return -ENOMEM;
		l->at = at;
		l->cap = cap;
	}
	l->at[l->n++] = *d;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return digest_compare(a, b);
}

int walk_blobs(struct store *s, int (*fn)(void *arg, const struct digest *d, const struct stat *st),
	       void *arg)
{
	cleanup(digests_done) struct digests all = {0};
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;
	int r;

	if (s->blobs_fd < 0)
		return 0;
	dir = dir_open(s->blobs_fd, ".");
	if (dir == NULL)
		return -errno;
	while ((e = dir_next(dir)) != NULL) {
		struct digest d;

		if ((e->d_type != DT_REG && e->d_type != DT_UNKNOWN) ||
		    digest_parse_hex(e->d_name, &d) < 0)
			continue;
		r = add(&all, &d);
		if (r < 0)
			return r;
	}
	if (errno != 0)
		return -errno;
	if (all.n > 0)
		qsort(all.at, all.n, sizeof(*all.at), compare);
	for (size_t i = 0; i < all.n; i++) {
		struct stat st;

		r = blob_stat(s, &all.at[i], &st);
		if (r == -ENOENT)
			continue;
		if (r == 0)
			r = fn(arg, &all.at[i], &st);
		if (r != 0)
			return r;
	}
	return 0;
}

int walk_strays(struct store *s, int (*fn)(void *arg, const char *name), void *arg)
{
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;
	int r;

	if (s->blobs_fd < 0)
		return 0;
	dir = dir_open(s->blobs_fd, ".");
	if (dir == NULL)
		return -errno;
	while ((e = dir_next(dir)) != NULL) {
		struct digest d;
		struct stat st;

		if (digest_parse_hex(e->d_name, &d) == 0) {
			if (fstatat(s->blobs_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			    S_ISREG(st.st_mode))
				continue;
		}
		r = fn(arg, e->d_name);
		if (r != 0)
			return r;
	}
	return errno != 0 ? -errno : 0;
}
