#include "shim/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { BACKLOG = 128 };

/* Relative: so its length does not count, and it is the directory that we have taken. */
static const char name[] = "shim.sock";

static int check_dir(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at %s", path);
	if (st.st_uid != geteuid())
		return err_set(err, EPERM, "%s belongs to uid %u, not to us", path, st.st_uid);
	if ((st.st_mode & 022) != 0)
		return err_set(err, EPERM, "others may write to %s (mode %04o)", path,
			       st.st_mode & 07777U);
	if ((st.st_mode & 077) != 0 && fchmod(fd, 0700) < 0)
		return err_errno(err, errno, "close %s to others", path);
	return 0;
}

int socket_take_dir(char **ret_path, int *ret_fd, struct err *err)
{
	cleanup_free char *path = getcwd(NULL, 0);
	cleanup_fd int fd = -1;
	int r;

	if (path == NULL)
		return err_errno(err, errno, "find the working directory");
	fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	r = check_dir(fd, path, err);
	if (r < 0)
		return r;
	/* Of the open directory, so it ends with us however we end (flock(2)). */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(err, EBUSY, "%s has a shim already", path)
					    : err_errno(err, errno, "lock %s", path);
	*ret_path = steal_ptr(path);
	*ret_fd = steal_fd(fd);
	return 0;
}

int socket_listen(int *ret_fd, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "shim.sock"};
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int r;

	if (fd < 0)
		return err_errno(err, errno, "make a socket");
	(void)unlink(name); /* of a shim that was killed: the directory is ours alone */
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return err_errno(err, -r, "listen on %s", name);
	*ret_fd = steal_fd(fd);
	return 0;
}

void socket_remove(void)
{
	(void)unlink(name);
}
