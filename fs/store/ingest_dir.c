#include "store/ingest_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/size.h"

/* How often a lock or a removal that met somebody else's removal is tried again. */
#define MAX_TRIES 100

int ingest_dir_name(const char *ref, char out[DIGEST_HEX_LEN + 1], struct err *err)
{
	size_t n = strnlen(ref, INGEST_REF_MAX + 1);
	struct digest d;

	if (n == 0)
		return err_set(err, EINVAL, "a ref must not be empty");
	if (n > INGEST_REF_MAX)
		return err_set(err, ENAMETOOLONG, "the ref is longer than %d bytes",
			       INGEST_REF_MAX);
	if (digest_of(ref, n, &d) < 0)
		return err_set(err, ENOMEM, "out of memory");
	digest_hex(&d, out);
	return 0;
}

/* Whether ingest/name/lock is still what lock_fd is: 1, 0 or a negative errno. */
static int is_current(struct store *s, const char *name, int lock_fd)
{
	char path[DIGEST_HEX_LEN + sizeof("/lock")];
	struct stat at_path, open_file;

	(void)snprintf(path, sizeof(path), "%s/lock", name);
	if (fstat(lock_fd, &open_file) < 0)
		return -errno;
	if (fstatat(s->ingest_fd, path, &at_path, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return open_file.st_nlink > 0 && at_path.st_dev == open_file.st_dev &&
	       at_path.st_ino == open_file.st_ino;
}

static int busy(int lock_fd, const char *ref, struct err *err)
{
	char pid[32] = "", since[64] = "", age[64] = "";
	struct stat st;
	ssize_t n = fd_pread_full(lock_fd, pid, sizeof(pid) - 1, 0);

	if (n <= 0 || strspn(pid, "0123456789") != (size_t)n - 1 || pid[n - 1] != '\n' ||
	    fstat(lock_fd, &st) < 0)
		return err_set(err, EBUSY, "ref \"%.200s\" is being written", ref);
	pid[n - 1] = '\0';
	{
		int64_t then = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
		int64_t now = clock_wall_ns();

		clock_format_rfc3339(then / 1000000000 * 1000000000, since, sizeof(since));
		since[strcspn(since, ".")] = '\0';
		clock_format_age(now > then ? (uint64_t)(now - then) : 0, age, sizeof(age));
	}
	return err_set(err, EBUSY, "ref \"%.200s\" is being written by pid %s since %sZ (%s)", ref,
		       pid, since, age);
}

static int open_lock(struct store *s, const char *name, bool create, struct ingest_dir *d,
		     struct err *err)
{
	if (create && mkdirat(s->ingest_fd, name, 0755) < 0 && errno != EEXIST)
		return err_errno(err, errno, "make ingest directory");
	d->fd = openat(s->ingest_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->fd < 0)
		return err_errno(err, errno, "open ingest directory");
	d->lock_fd =
		openat(d->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0644);
	if (d->lock_fd < 0)
		return err_errno(err, errno, "open ingest lock");
	return 0;
}

int ingest_dir_lock(struct store *s, const char *name, bool create, struct ingest_dir *ret,
		    const char *ref, struct err *err)
{
	if (s->rdonly || s->ingest_fd < 0)
		return err_errno(err, s->rdonly ? EROFS : ENOENT, "ref \"%.200s\"", ref);
	for (int i = 0; i < MAX_TRIES; i++) {
		struct ingest_dir d = {.fd = -1, .lock_fd = -1};
		char pid[32];
		int r, current;

		(void)snprintf(d.name, sizeof(d.name), "%s", name);
		r = open_lock(s, name, create, &d, err);
		if (r == 0) {
			r = fd_lock(d.lock_fd);
			current = is_current(s, name, d.lock_fd);
			if (current < 0) {
				r = err_errno(err, -current, "check ingest lock");
			} else if (current == 0) {
				r = -ENOENT; /* removed meanwhile */
			} else if (r == -EAGAIN) {
				r = busy(d.lock_fd, ref, err);
			} else if (r < 0) {
				r = err_errno(err, -r, "lock ingest");
			} else {
				int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());

				/* For people to read: nothing depends on it. */
				if (ftruncate(d.lock_fd, 0) == 0)
					(void)fd_pwrite_full(d.lock_fd, pid, (size_t)n, 0);
				*ret = d;
				return 0;
			}
		}
		ingest_dir_unlock(&d);
		if (r != -ENOENT)
			return r;
		if (!create)
			return err_set(err, ENOENT, "ref \"%.200s\" is unknown", ref);
	}
	return err_set(err, EBUSY, "ref \"%.200s\" comes and goes", ref);
}

int ingest_dir_remove(struct store *s, struct ingest_dir *d)
{
	static atomic_uint serial;
	char hidden[DIGEST_HEX_LEN + 64];
	const char *name = hidden;
	int r;

	(void)snprintf(hidden, sizeof(hidden), ".%s.%ld.%u", d->name, (long)getpid(),
		       atomic_fetch_add(&serial, 1));
	if (renameat(s->ingest_fd, d->name, s->ingest_fd, hidden) < 0) {
		if (errno == ENOENT)
			return 0;
		/* A full disk may refuse the longer name: remove it where it is. */
		if (errno != ENOSPC && errno != EDQUOT)
			return -errno;
		name = d->name;
	}
	/* Whoever opens the lock meanwhile may put a new one there: ENOTEMPTY. */
	for (int i = 0; i < MAX_TRIES; i++) {
		r = fd_remove_tree(s->ingest_fd, name);
		if (r != -ENOTEMPTY && r != -EEXIST)
			break;
	}
	return name == hidden ? 0 : r;
}

void ingest_dir_unlock(struct ingest_dir *d)
{
	cleanup_closep(&d->lock_fd);
	cleanup_closep(&d->fd);
	d->lock_fd = d->fd = -1;
}

int ingest_dir_is_locked(int dir_fd)
{
	cleanup_fd int fd = openat(dir_fd, "lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	return fd >= 0 && fd_is_locked(fd) > 0;
}

int ingest_side_write(int dir_fd, const char *name, const void *p, size_t n)
{
	cleanup_fd int fd = -1;
	char tmp[64];
	int r;

	/* One name will do: only the holder of the lock writes here. */
	(void)snprintf(tmp, sizeof(tmp), ".%s.tmp", name);
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, p, n);
	if (r == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir_fd, tmp, 0);
	return r;
}

int ingest_side_read(int dir_fd, const char *name, char *out, size_t n)
{
	cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t got;

	if (fd < 0)
		return errno == ELOOP ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	got = fd_read_full(fd, out, n);
	if (got < 0)
		return (int)got;
	if ((size_t)got == n)
		return -E2BIG;
	out[got] = '\0';
	return (int)got;
}

int ingest_side_read_time(int dir_fd, const char *name, int64_t *ret_ns)
{
	char text[64];

	if (ingest_side_read(dir_fd, name, text, sizeof(text)) < 0 ||
	    clock_parse_rfc3339(text, ret_ns) < 0)
		return -ENOENT;
	return 0;
}

int ingest_side_write_time(int dir_fd, const char *name, int64_t wall_ns)
{
	char text[64];

	clock_format_rfc3339(wall_ns, text, sizeof(text));
	return ingest_side_write(dir_fd, name, text, strlen(text));
}

static int64_t timespec_ns(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

/* Removes the newline that people and tools put at the end of a line. */
static void chomp(char *s)
{
	s[strcspn(s, "\n")] = '\0';
}

static int load_ref(int dir_fd, const char *name, char *ref)
{
	int n = ingest_side_read(dir_fd, "ref", ref, INGEST_REF_MAX + 1);
	char want[DIGEST_HEX_LEN + 1];
	int r;

	if (n == -E2BIG)
		return -ENOENT;
	if (n < 0)
		return n;
	if (n == 0 || strlen(ref) != (size_t)n)
		return -ENOENT;
	r = ingest_dir_name(ref, want, NULL);
	if (r < 0)
		return r;
	return name == NULL || strcmp(want, name) == 0 ? 0 : -ENOENT;
}

static void load_side_files(int dir_fd, struct ingest_status *st)
{
	char text[DIGEST_TEXT_LEN + 2];
	struct stat ref;
	int64_t updated;

	if (ingest_side_read(dir_fd, "total", text, sizeof(text)) > 0) {
		chomp(text);
		if (size_parse_plain(text, &st->total) < 0)
			st->total = 0;
	}
	if (ingest_side_read(dir_fd, "expected", text, sizeof(text)) > 0) {
		chomp(text);
		st->has_expected = digest_parse(text, &st->expected, NULL) == 0;
	}
	if (!st->has_expected)
		st->has_expected = digest_from_ref(st->ref, &st->expected);
	if (ingest_side_read_time(dir_fd, "startedat", &st->started_ns) < 0)
		st->started_ns = fstatat(dir_fd, "ref", &ref, AT_SYMLINK_NOFOLLOW) == 0
					 ? timespec_ns(&ref.st_mtim)
					 : st->updated_ns;
	if (ingest_side_read_time(dir_fd, "updatedat", &updated) == 0 && updated > st->updated_ns)
		st->updated_ns = updated;
	if (ingest_side_read(dir_fd, "failed", st->failed, sizeof(st->failed)) < 0)
		st->failed[0] = '\0';
	chomp(st->failed);
}

int ingest_dir_load(int dir_fd, const char *name, struct ingest_status *ret)
{
	struct stat data, chunks;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = load_ref(dir_fd, name, ret->ref);
	if (r < 0)
		return r;
	if (fstatat(dir_fd, "data", &data, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(data.st_mode) || (data.st_nlink > 1 && (data.st_mode & 0222) == 0))
		return -ENOENT;
	ret->size = (uint64_t)data.st_size;
	ret->allocated = (uint64_t)data.st_blocks * 512;
	if (ret->size > ret->allocated &&
	    fstatat(dir_fd, "chunks", &chunks, AT_SYMLINK_NOFOLLOW) == 0)
		ret->size = ret->allocated;
	ret->updated_ns = timespec_ns(&data.st_mtim);
	load_side_files(dir_fd, ret);
	ret->locked = ingest_dir_is_locked(dir_fd) == 1;
	return 0;
}

bool ingest_failure_is_final(const char *failed)
{
	return strncmp(failed, "unexpected digest:", strlen("unexpected digest:")) == 0 ||
	       strncmp(failed, "sync data:", strlen("sync data:")) == 0;
}
