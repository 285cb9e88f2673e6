#include "shim/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum {
	MAX_LINE = 256 << 10,
	MAX_BYTES = 64 << 20,
	LONG_BYTES = 256 << 10, /* beyond what it has to hold */
};

static const char name[] = "journal", new_name[] = "journal.new";

/* The lines of p[n]; returns how many of them were none. */
static int read_lines(const char *p, size_t n, void (*taken)(const struct record *r, void *ctx),
		      void *ctx)
{
	cleanup_buf struct buf text;
	int bad = 0;

	buf_init(&text, MAX_LINE);
	while (n > 0) {
		const char *nl = memchr(p, '\n', n);
		size_t len = nl != NULL ? (size_t)(nl - p) : n;
		struct record r;

		text.len = 0;
		if (nl != NULL && record_read(p, len, &r, &text) == 0)
			taken(&r, ctx);
		else
			bad++;
		p += nl != NULL ? len + 1 : len;
		n -= nl != NULL ? len + 1 : len;
	}
	return bad;
}

static int open_file(struct journal *j)
{
	struct stat st;

	j->fd = openat(j->dir_fd, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		       0600);
	if (j->fd < 0)
		return -errno;
	if (fstat(j->fd, &st) < 0)
		return -errno;
	j->bytes = (size_t)st.st_size;
	return 0;
}

/* An end that was never written whole is cut off: a part of a line may look like one. */
static int cut_end(struct journal *j, const struct buf *all)
{
	const char *nl = memrchr(all->data, '\n', all->len);
	size_t whole = nl != NULL ? (size_t)(nl - all->data) + 1 : 0;

	if (whole == all->len)
		return 0;
	j->bytes = whole;
	return ftruncate(j->fd, (off_t)whole) < 0 ? -errno : 0;
}

int journal_open(struct journal *j, int dir_fd, void (*taken)(const struct record *r, void *ctx),
		 void *ctx, struct err *err)
{
	cleanup_buf struct buf all;
	int bad = 0, r;

	*j = (struct journal){.dir_fd = dir_fd, .fd = -1};
	buf_init(&all, MAX_BYTES);
	r = fd_read_file(dir_fd, name, &all);
	if (r == 0)
		bad = read_lines(all.data, all.len, taken, ctx);
	else if (r != -ENOENT)
		return err_errno(err, -r, "read the journal");
	r = open_file(j);
	if (r == 0)
		r = cut_end(j, &all);
	if (r < 0)
		return err_errno(err, -r, "open the journal");
	return bad;
}

int journal_append(struct journal *j, const struct record *record)
{
	cleanup_buf struct buf line;
	int r;

	buf_init(&line, MAX_LINE);
	r = record_write(record, &line);
	if (r == 0)
		r = fd_write_full(j->fd, line.data, line.len);
	if (r == 0)
		j->bytes += line.len;
	return r;
}

bool journal_is_long(const struct journal *j)
{
	return j->bytes > j->bytes_anew + LONG_BYTES;
}

int journal_replace(struct journal *j, const struct buf *lines)
{
	cleanup_fd int fd = openat(j->dir_fd, new_name,
				   O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, lines->data, lines->len);
	if (r == 0 && renameat(j->dir_fd, new_name, j->dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(j->dir_fd, new_name, 0);
		return r;
	}
	(void)close(j->fd);
	j->fd = steal_fd(fd);
	j->bytes = j->bytes_anew = lines->len;
	return 0;
}

void journal_close(struct journal *j)
{
	if (j->fd >= 0)
		(void)close(j->fd);
	j->fd = -1;
}

void journal_remove(struct journal *j)
{
	if (j->fd >= 0)
		(void)unlinkat(j->dir_fd, name, 0);
	journal_close(j);
}
