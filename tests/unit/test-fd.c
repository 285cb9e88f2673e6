#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "lib/test.h"

struct tmp_dir {
	char path[64];
	int fd;
};

static void tmp_dir_open(struct tmp_dir *t)
{
	*t = (struct tmp_dir){.path = "/tmp/fd-test.XXXXXX"};
	if (mkdtemp(t->path) == NULL)
		abort();
	t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void tmp_dir_close(struct tmp_dir *t)
{
	(void)close(t->fd);
	(void)fd_remove_tree(AT_FDCWD, t->path);
}

#define TMP_DIR(t)                                                    \
	__attribute__((__cleanup__(tmp_dir_close))) struct tmp_dir t; \
	tmp_dir_open(&(t))

TEST(small_files_are_replaced_whole_and_read_back)
{
	cleanup_buf struct buf b;
	DIR *dir;
	TMP_DIR(t);

	buf_init(&b, 100);
	CHECK_EQ(fd_read_file(t.fd, "x", &b), -ENOENT);
	CHECK_EQ(fd_write_file(t.fd, "x", "one", 3, 0644), 0);
	CHECK_EQ(fd_write_file(t.fd, "x", "second", 6, 0600), 0);
	CHECK_EQ(fd_read_file(t.fd, "x", &b), 0);
	CHECK_STR(b.data, "second");
	CHECK_EQ(fd_write_file(t.fd, "absent/x", "one", 3, 0644), -ENOENT);
	CHECK_EQ(mkdirat(t.fd, "dir", 0755), 0);
	CHECK_EQ(fd_write_file(t.fd, "dir", "one", 3, 0644), -EISDIR);
	CHECK_EQ(fd_write_file(t.fd, "dir/x", "below", 5, 0600), 0);
	CHECK_EQ(faccessat(t.fd, "dir/x", R_OK, 0), 0);
	CHECK_EQ(fd_read_file(t.fd, "dir", &b), -EINVAL);
	CHECK_EQ(mkfifoat(t.fd, "fifo", 0644), 0);
	CHECK_EQ(fd_read_file(t.fd, "fifo", &b), -EINVAL); /* and does not wait */
	b.max = 8;
	CHECK_EQ(fd_read_file(t.fd, "x", &b), -E2BIG);
	dir = dir_open(t.fd, ".");
	CHECK(dir != NULL);
	for (const struct dirent *e; (e = dir_next(dir)) != NULL;)
		CHECK(strchr(e->d_name, '.') == NULL); /* no temporary file stays */
	(void)closedir(dir);
}

TEST(a_lock_is_its_open_file_s_and_dies_with_its_process)
{
	cleanup_fd int a = -1, b = -1;
	int status, pipes[2];
	pid_t child;
	char byte;
	TMP_DIR(t);

	CHECK_EQ(fd_write_file(t.fd, "lock", "", 0, 0644), 0);
	a = openat(t.fd, "lock", O_RDWR | O_CLOEXEC);
	b = openat(t.fd, "lock", O_RDWR | O_CLOEXEC);
	CHECK_EQ(fd_lock(a), 0);
	CHECK_EQ(fd_lock(a), 0);
	CHECK_EQ(fd_lock(b), -EAGAIN);
	CHECK_EQ(fd_is_locked(b), 1);
	CHECK_EQ(fd_is_locked(a), 0); /* by somebody else, it asks */
	(void)close(steal_fd(a));
	CHECK_EQ(fd_is_locked(b), 0);

	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		int fd = openat(t.fd, "lock", O_RDWR | O_CLOEXEC);

		(void)!write(pipes[1], fd_lock(fd) == 0 ? "1" : "0", 1);
		(void)pause();
		_exit(0);
	}
	CHECK_EQ(read(pipes[0], &byte, 1), 1);
	CHECK_EQ(byte, '1');
	CHECK_EQ(fd_lock(b), -EAGAIN);
	(void)kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(fd_lock(b), 0);
	(void)close(pipes[0]);
	(void)close(pipes[1]);
	CHECK_EQ(fd_lock(-1), -EBADF);
	CHECK_EQ(fd_is_locked(-1), -EBADF);
}

TEST(a_tree_is_removed_and_links_out_of_it_are_not_followed)
{
	TMP_DIR(t);

	CHECK_EQ(mkdirat(t.fd, "keep", 0755), 0);
	CHECK_EQ(mknodat(t.fd, "keep/file", S_IFREG | 0644, 0), 0);
	CHECK_EQ(mkdirat(t.fd, "tree", 0755), 0);
	CHECK_EQ(mkdirat(t.fd, "tree/a", 0755), 0);
	CHECK_EQ(mkdirat(t.fd, "tree/a/b", 0755), 0);
	CHECK_EQ(mknodat(t.fd, "tree/a/b/f", S_IFREG | 0644, 0), 0);
	CHECK_EQ(symlinkat("../keep", t.fd, "tree/link"), 0);
	CHECK_EQ(symlinkat("nowhere", t.fd, "tree/dangling"), 0);
	CHECK_EQ(mkfifoat(t.fd, "tree/fifo", 0644), 0);
	CHECK_EQ(fd_remove_tree(t.fd, "tree"), 0);
	CHECK_EQ(faccessat(t.fd, "tree", F_OK, 0), -1);
	CHECK_EQ(faccessat(t.fd, "keep/file", F_OK, 0), 0);
	CHECK_EQ(fd_remove_tree(t.fd, "tree"), 0);
	CHECK_EQ(fd_remove_tree(t.fd, "keep/file"), 0);
	CHECK_EQ(fd_remove_tree(t.fd, "absent/below"), 0);
}

TEST(reads_and_writes_are_whole)
{
	cleanup_fd int fd = -1;
	int pipes[2];
	char out[16];
	TMP_DIR(t);

	fd = openat(t.fd, "x", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	CHECK_EQ(fd_write_full(fd, "hello world", 11), 0);
	CHECK_EQ(fd_pwrite_full(fd, "WORLD", 5, 6), 0);
	CHECK_EQ(fd_pread_full(fd, out, sizeof(out), 0), 11);
	CHECK(memcmp(out, "hello WORLD", 11) == 0);
	CHECK_EQ(fd_pread_full(fd, out, sizeof(out), 11), 0);
	CHECK_EQ(fd_pread_full(fd, out, sizeof(out), 1ULL << 63), -EINVAL);
	CHECK_EQ(fd_read_full(fd, out, sizeof(out)), 0);
	CHECK_EQ(fd_write_full(fd, "", 0), 0);
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	CHECK_EQ(write(pipes[1], "abc", 3), 3);
	(void)close(pipes[1]);
	CHECK_EQ(fd_read_full(pipes[0], out, sizeof(out)), 3);
	CHECK_EQ(fd_pread_full(pipes[0], out, 1, 0), -ESPIPE);
	(void)close(pipes[0]);
	CHECK_EQ(fd_write_full(-1, "x", 1), -EBADF);
	CHECK_EQ(fd_sync(-1), -EBADF);
	CHECK_EQ(fd_sync_dir(t.fd, "absent"), -ENOENT);
	CHECK_EQ(fd_sync_dir(t.fd, "."), 0);
}

TEST(a_path_is_opened_inside_its_root)
{
	cleanup_fd int fd = -1;
	TMP_DIR(t);

	CHECK_EQ(mkdirat(t.fd, "root", 0755), 0);
	CHECK_EQ(fd_write_file(t.fd, "outside", "x", 1, 0644), 0);
	CHECK_EQ(symlinkat("../outside", t.fd, "root/link"), 0);
	fd = openat(t.fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_EQ(fd_openat2(fd, "link", O_RDONLY, 0, RESOLVE_IN_ROOT), -ENOENT);
	CHECK_EQ(fd_openat2(fd, "../outside", O_RDONLY, 0, RESOLVE_BENEATH), -EXDEV);
	CHECK_EQ(fd_openat2(fd, "link", O_RDONLY, 0, RESOLVE_NO_SYMLINKS), -ELOOP);
}

TEST(a_descriptor_s_path_is_that_file_whatever_its_name_means_by_then)
{
	cleanup_buf struct buf b;
	int path_fd;
	TMP_DIR(t);

	buf_init(&b, 100);
	CHECK_EQ(fd_write_file(t.fd, "x", "one", 3, 0644), 0);
	path_fd = openat(t.fd, "x", O_PATH | O_CLOEXEC);
	CHECK_EQ(fd_write_file(t.fd, "x", "two", 3, 0644), 0);
	CHECK_EQ(fd_read_file(AT_FDCWD, fd_path(path_fd).s, &b), 0);
	CHECK_STR(b.data, "one");
	(void)close(path_fd);
}

TEST_MAIN()
