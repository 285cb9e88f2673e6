#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dir.h"
#include "base/fd.h"
#include "store/ingest_dir.h"

/* Errors that mean "not this one": it went, it is in use, it is not ours. */
static bool is_passable(int r)
{
	return r == -ENOENT || r == -EBUSY || r == -EACCES || r == -ENOTDIR || r == -ELOOP;
}

struct expiry {
	struct store *store;
	int64_t before_ns;
	bool dry_run;
	int (*fn)(void *arg, const struct ingest_status *st);
	void *arg;
};

/* Under the lock its age is looked at again: somebody may have resumed it since the listing. */
static int expire_locked(struct expiry *x, struct ingest_dir *dir)
{
	struct ingest_status st;
	int r = ingest_dir_load(dir->fd, dir->name, &st);

	if (r < 0)
		return is_passable(r) ? 0 : r;
	if (st.updated_ns >= x->before_ns)
		return 0;
	st.locked = false; /* but for us */
	r = x->fn(x->arg, &st);
	return r != 0 ? r : ingest_dir_remove(x->store, dir);
}

static int expire(void *arg, const struct ingest_status *st)
{
	struct expiry *x = arg;
	struct ingest_dir dir = {.fd = -1, .lock_fd = -1};
	char name[DIGEST_HEX_LEN + 1];
	int r;

	if (st->locked || st->updated_ns >= x->before_ns)
		return 0;
	if (x->dry_run)
		return x->fn(x->arg, st);
	r = ingest_dir_name(st->ref, name, NULL);
	if (r == 0)
		r = ingest_dir_lock(x->store, name, /* create= */ false, &dir, st->ref, NULL);
	if (r < 0)
		return is_passable(r) ? 0 : r;
	r = expire_locked(x, &dir);
	ingest_dir_unlock(&dir);
	return r;
}

int ingest_expire(struct store *s, int64_t before_ns, bool dry_run,
		  int (*fn)(void *arg, const struct ingest_status *st), void *arg)
{
	struct expiry x = {
		.store = s,
		.before_ns = before_ns,
		.dry_run = dry_run,
		.fn = fn,
		.arg = arg,
	};

	if (s->rdonly && !dry_run)
		return -EROFS;
	return ingest_walk(s, expire, &x);
}

/* ".<64 hex>.<pid>.<n>", as ingest_dir_remove() makes them. */
static bool is_hidden_leftover(const char *name)
{
	char hex[DIGEST_HEX_LEN + 1];
	struct digest d;

	if (name[0] != '.' || strlen(name) < DIGEST_HEX_LEN + 2 || name[DIGEST_HEX_LEN + 1] != '.')
		return false;
	memcpy(hex, name + 1, DIGEST_HEX_LEN);
	hex[DIGEST_HEX_LEN] = '\0';
	return digest_parse_hex(hex, &d) == 0;
}

/* The lock that its remover holds, if there is one still: 0, -EBUSY or another negative errno. */
static int lock_hidden(int dir_fd, int *ret_lock_fd)
{
	*ret_lock_fd = openat(dir_fd, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (*ret_lock_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return fd_lock(*ret_lock_fd) == -EAGAIN ? -EBUSY : 0;
}

struct sweep {
	struct store *store;
	int64_t before_ns;
	bool dry_run;
	int (*fn)(void *arg, const char *name);
	void *arg;
};

static int sweep_hidden(struct sweep *w, const char *name, int fd)
{
	cleanup_fd int lock_fd = -1;
	int r = lock_hidden(fd, &lock_fd);

	if (r < 0)
		return r;
	r = w->fn(w->arg, name);
	if (r != 0 || w->dry_run)
		return r;
	return fd_remove_tree(w->store->ingest_fd, name);
}

static int sweep_unreadable(struct sweep *w, const char *name, int fd)
{
	struct ingest_dir dir = {.fd = -1, .lock_fd = -1};
	struct ingest_status st;
	int r = ingest_dir_load(fd, name, &st);

	if (r != -ENOENT)
		return r < 0 ? r : 0;
	if (w->dry_run)
		return ingest_dir_is_locked(fd) ? 0 : w->fn(w->arg, name);
	r = ingest_dir_lock(w->store, name, /* create= */ false, &dir, name, NULL);
	if (r < 0)
		return r;
	/* Once more: it may have been begun since. */
	r = ingest_dir_load(dir.fd, name, &st);
	if (r == -ENOENT) {
		r = w->fn(w->arg, name);
		if (r == 0)
			r = ingest_dir_remove(w->store, &dir);
	}
	ingest_dir_unlock(&dir);
	return r;
}

static int sweep_entry(struct sweep *w, const char *name)
{
	cleanup_fd int fd = -1;
	bool hidden = is_hidden_leftover(name);
	struct digest d;
	struct stat st;

	if (!hidden && digest_parse_hex(name, &d) < 0)
		return 0; /* nobody knows whose that is */
	fd = openat(w->store->ingest_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec >= w->before_ns)
		return 0;
	return hidden ? sweep_hidden(w, name, fd) : sweep_unreadable(w, name, fd);
}

int ingest_sweep(struct store *s, int64_t before_ns, bool dry_run,
		 int (*fn)(void *arg, const char *name), void *arg)
{
	struct sweep w = {
		.store = s,
		.before_ns = before_ns,
		.dry_run = dry_run,
		.fn = fn,
		.arg = arg,
	};
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;

	if (s->rdonly && !dry_run)
		return -EROFS;
	if (s->ingest_fd < 0)
		return 0;
	dir = dir_open(s->ingest_fd, ".");
	if (dir == NULL)
		return -errno;
	while ((e = dir_next(dir)) != NULL) {
		int r = sweep_entry(&w, e->d_name);

		if (r != 0 && !is_passable(r))
			return r;
	}
	return errno != 0 ? -errno : 0;
}
