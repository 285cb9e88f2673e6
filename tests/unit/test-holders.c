#include "mount/holders.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/test.h"

/* A file that only this test has, so that its inode number is one of a kind among open files. */
struct held {
	int fd;
	uint64_t ino;
};

static struct held hold(void)
{
	char path[] = "/tmp/holders-test.XXXXXX";
	struct held h = {.fd = mkstemp(path)};
	struct stat st;

	if (h.fd < 0 || fstat(h.fd, &st) < 0)
		abort();
	(void)unlink(path);
	h.ino = st.st_ino;
	return h;
}

/* A child (of a child, when depth is 2) that keeps the file until the pipe is closed. */
static pid_t keep_in_child(int fd, int depth, int *ret_pipe)
{
	int go[2], ready[2];
	pid_t child;
	char byte;

	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(ready, O_CLOEXEC) < 0)
		abort();
	child = fork();
	if (child == 0) {
		(void)close(go[1]);
		if (depth > 1 && fork() > 0) {
			(void)close(fd);
			(void)wait(NULL);
			_exit(0);
		}
		(void)!write(ready[1], "1", 1);
		(void)!read(go[0], &byte, 1);
		_exit(0);
	}
	(void)close(go[0]);
	(void)!read(ready[0], &byte, 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	*ret_pipe = go[1];
	return child;
}

TEST(a_process_holds_what_it_has_open)
{
	struct held f = hold();
	struct holders h;
	int copy;

	holders_init(&h);
	holders_note(&h, getpid());
	CHECK(holders_any(&h, getpid(), f.ino));
	copy = fcntl(f.fd, F_DUPFD_CLOEXEC, 0);
	(void)close(f.fd);
	CHECK(holders_any(&h, getpid(), f.ino));
	(void)close(copy);
	CHECK(!holders_any(&h, getpid(), f.ino));
	CHECK(!holders_any(&h, 0, f.ino)); /* of another pid namespace */
}

TEST(children_that_have_inherited_it_are_found)
{
	for (int depth = 1; depth <= 2; depth++) {
		struct held f = hold();
		struct holders h;
		pid_t child;
		int go;

		holders_init(&h);
		holders_note(&h, getpid());
		child = keep_in_child(f.fd, depth, &go);
		(void)close(f.fd);
		CHECK(holders_any(&h, getpid(), f.ino));
		(void)close(go);
		CHECK_EQ(waitpid(child, NULL, 0), child);
		CHECK(!holders_any(&h, getpid(), f.ino));
	}
}

TEST(the_oldest_is_forgotten_when_there_are_too_many)
{
	struct holders h;

	holders_init(&h);
	holders_note(&h, 0);
	holders_note(&h, -1);
	CHECK_EQ(h.n, 0);
	for (int i = 0; i < 100; i++) {
		holders_note(&h, 100000 + i);
		holders_note(&h, 100000 + i);
	}
	CHECK_EQ(h.n, 32);
	CHECK_EQ(h.pids[0], 100068);
	CHECK_EQ(h.pids[31], 100099);
}

TEST(who_is_ended_by_a_signal_is_told_from_who_exits)
{
	siginfo_t info;

	for (int killed = 0; killed < 2; killed++) {
		pid_t child = fork();

		if (child == 0) {
			if (killed != 0)
				(void)raise(SIGKILL);
			_exit(1);
		}
		CHECK_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
		CHECK_EQ(holders_killed(child), killed);
		CHECK_EQ(waitpid(child, NULL, 0), child);
	}
	CHECK(!holders_killed(getpid()));
	CHECK(!holders_killed(0) && !holders_killed(-1) && !holders_killed(1 << 30));
}

TEST_MAIN()
