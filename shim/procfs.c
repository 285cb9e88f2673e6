#include "shim/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "base/fd.h"

enum { MAX_CMDLINE = 64 << 10 };

/* Field n of a stat line counts from 1; this is the text of field 3 and what follows. */
static const char *behind_name(const char *line)
{
	const char *p = strrchr(line, ')'); /* a name may hold anything, also ") " */

	return p != NULL && p[1] == ' ' ? p + 2 : NULL;
}

static const char *field(const char *field3, int n)
{
	for (; n > 3 && field3 != NULL; n--) {
		field3 = strchr(field3, ' ');
		field3 = field3 != NULL ? field3 + 1 : NULL;
	}
	return field3;
}

int procfs_stat(pid_t pid, struct procfs_stat *ret)
{
	char path[40], line[1024];
	cleanup_fd int fd = -1;
	const char *f3, *start, *code;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, line, sizeof(line) - 1);
	if (n < 0)
		return -errno;
	line[n] = '\0';
	f3 = behind_name(line);
	start = field(f3, 22);
	code = field(f3, 52);
	if (start == NULL)
		return -EIO;
	ret->state = f3[0];
	ret->ppid = (pid_t)strtol(field(f3, 4), NULL, 10);
	ret->starttime = strtoull(start, NULL, 10);
	ret->exit_code = code != NULL ? (int)strtol(code, NULL, 10) : 0;
	return 0;
}

bool procfs_has_own_pids(pid_t pid)
{
	char path[48];
	struct stat ours, its;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	if (stat("/proc/self/ns/pid", &ours) < 0 || stat(path, &its) < 0)
		return false;
	return ours.st_ino != its.st_ino;
}

void procfs_boot_id(char out[37])
{
	cleanup_fd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	out[0] = '\0';
	if (fd >= 0 && read(fd, out, 36) == 36)
		out[36] = '\0';
	else
		out[0] = '\0';
}

static bool has_argument(const char *args, size_t n, const char *prefix, size_t prefix_n)
{
	for (size_t at = 0; at < n; at += strnlen(args + at, n - at) + 1)
		if (n - at >= prefix_n && memcmp(args + at, prefix, prefix_n) == 0)
			return true;
	return false;
}

static bool matches(int proc_fd, const char *pid, const char *prefix)
{
	cleanup_buf struct buf b;
	char path[280];

	buf_init(&b, MAX_CMDLINE);
	(void)snprintf(path, sizeof(path), "%s/cmdline", pid);
	(void)fd_read_file(proc_fd, path, &b); /* of a longer one the beginning will do */
	return has_argument(b.data, b.len, prefix, strlen(prefix));
}

int procfs_find_argument(const char *prefix, pid_t *pids, int max)
{
	cleanup_dir DIR *dir = dir_open(AT_FDCWD, "/proc");
	struct dirent *e;
	int n = 0;

	if (dir == NULL)
		return -errno;
	while (n < max && (e = dir_next(dir)) != NULL) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && pid != getpid() && matches(dirfd(dir), e->d_name, prefix))
			pids[n++] = pid;
	}
	return n;
}

struct kinship {
	pid_t pid, parent;
};

/* Of all processes, *ret is the caller's. */
static ssize_t list_kinships(struct kinship **ret)
{
	cleanup_dir DIR *dir = dir_open(AT_FDCWD, "/proc");
	struct kinship *all = NULL;
	size_t n = 0, cap = 0;
	struct dirent *e;

	while (dir != NULL && (e = dir_next(dir)) != NULL) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
		struct procfs_stat st;

		if (pid <= 0 || procfs_stat(pid, &st) < 0)
			continue;
		if (n == cap) {
			void *p = reallocarray(all, cap + 256, sizeof(*all));

			if (p == NULL) {
				free(all);
				return -ENOMEM;
			}
			all = p;
			cap += 256;
		}
		all[n++] = (struct kinship){pid, st.ppid};
	}
	*ret = all;
	return dir != NULL ? (ssize_t)n : -EIO;
}

int procfs_find_descendants(pid_t pid, pid_t *pids, int max)
{
	cleanup_free struct kinship *all = NULL;
	ssize_t n_all = list_kinships(&all);
	int n = 0;

	if (n_all < 0)
		return (int)n_all;
	for (int at = -1; at < n; at++) { /* of pid itself, then of those that were found */
		pid_t parent = at < 0 ? pid : pids[at];

		for (ssize_t i = 0; i < n_all && n < max; i++)
			if (all[i].parent == parent) /* NOLINT: n_all of them are set */
				pids[n++] = all[i].pid;
	}
	return n;
}
