#include "shimctl/fifos.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "shimctl/paths.h"

void fifos_init(struct fifos *f)
{
	*f = (struct fifos){.in_fd = -1, .out_fd = -1, .err_fd = -1};
}

/*
 * stdin is opened for reading as well: an open for writing alone fails until the other side is
 * there. An output is opened for reading alone, so that its end is seen.
 */
static int open_end(const char *path, bool input, int *ret_fd, struct err *err)
{
	struct stat st;
	int fd;

	if (path[0] == '\0')
		return 0;
	fd = open(path, (input ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	*ret_fd = fd;
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return err_set(err, ENOTSUP, "%s is not a fifo", path);
	return 0;
}

static int make_one(const char *path, struct err *err)
{
	if (path[0] == '\0' || mkfifo(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return err_errno(err, errno, "make the fifo %s", path);
}

static int make_temp_dir(struct fifos *f, struct err *err)
{
	char dir[] = "/tmp/shimctl-XXXXXX";

	if (mkdtemp(dir) == NULL)
		return err_errno(err, errno, "make a directory for fifos");
	(void)snprintf(f->temp_dir, sizeof(f->temp_dir), "%s", dir);
	return 0;
}

static void name_one(const struct fifos *f, char *path, size_t n, const char *name)
{
	if (path[0] == '\0')
		(void)snprintf(path, n, "%s/%s", f->temp_dir, name);
}

static int open_ends(struct fifos *f, struct err *err)
{
	int r = open_end(f->in, true, &f->in_fd, err);

	if (r == 0)
		r = open_end(f->out, false, &f->out_fd, err);
	if (r == 0 && !f->terminal)
		r = open_end(f->err, false, &f->err_fd, err);
	return r;
}

static int set_paths(struct fifos *f, const char *in, const char *out, const char *err_path,
		     struct err *err)
{
	int r = path_absolute(in, f->in, sizeof(f->in), err);

	if (r == 0)
		r = path_absolute(out, f->out, sizeof(f->out), err);
	if (r == 0)
		r = path_absolute(err_path, f->err, sizeof(f->err), err);
	return r;
}

int fifos_make(struct fifos *f, const char *in, const char *out, const char *err_path,
	       bool terminal, bool attach, struct err *err)
{
	int r = set_paths(f, in, out, err_path, err);

	f->terminal = terminal;
	if (r == 0 && attach && (in == NULL || out == NULL || (err_path == NULL && !terminal)))
		r = make_temp_dir(f, err);
	if (r < 0)
		return r;
	if (f->temp_dir[0] != '\0') {
		name_one(f, f->in, sizeof(f->in), "stdin");
		name_one(f, f->out, sizeof(f->out), "stdout");
		if (!terminal)
			name_one(f, f->err, sizeof(f->err), "stderr");
	}
	r = make_one(f->in, err);
	if (r == 0)
		r = make_one(f->out, err);
	if (r == 0)
		r = make_one(f->err, err);
	if (r == 0 && attach)
		r = open_ends(f, err);
	return r;
}

int fifos_open(struct fifos *f, const char *in, const char *out, const char *err_path,
	       bool terminal, struct err *err)
{
	int r = set_paths(f, in, out, err_path, err);

	f->terminal = terminal;
	return r < 0 ? r : open_ends(f, err);
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void fifos_done(struct fifos *f)
{
	close_end(&f->in_fd);
	close_end(&f->out_fd);
	close_end(&f->err_fd);
	if (f->temp_dir[0] != '\0')
		(void)fd_remove_tree(AT_FDCWD, f->temp_dir);
	f->temp_dir[0] = '\0';
}
