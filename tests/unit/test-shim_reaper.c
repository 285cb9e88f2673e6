#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "lib/test.h"
#include "shim/procfs.h"
#include "shim/shim.h"

struct fixture {
	struct shim s;
	char dir[64];
};

static void begin(struct fixture *f)
{
	struct err err = {0};
	int dir_fd;

	(void)strcpy(f->dir, "/tmp/contentfs-test.XXXXXX");
	CHECK(mkdtemp(f->dir) != NULL);
	dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(dir_fd >= 0);
	CHECK_EQ(shim_init(&f->s, strdup(f->dir), dir_fd, 1000), 0);
	CHECK_EQ(journal_open(&f->s.journal, dir_fd, shim_replay, &f->s, &err), 0);
}

static void end(struct fixture *f)
{
	shim_done(&f->s);
	CHECK_EQ(fd_remove_tree(AT_FDCWD, f->dir), 0);
}

static pid_t start_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail */
		(void)pause();
		_exit(0);
	}
	return pid;
}

static void end_child(pid_t pid)
{
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

/* The init of a container, launched as pid; NULL: that failed. */
static struct proc *launched(struct shim *s, pid_t pid)
{
	struct record create = {
		.kind = RECORD_CREATE, .id = "c", .bundle = "/b", .runtime = "runc"};
	struct record r = {.kind = RECORD_LAUNCHED, .pid = pid};
	struct procfs_stat st;
	struct proc *p;

	if (shim_record(s, &create) < 0)
		return NULL;
	p = task_init_proc(&s->task);
	if (procfs_stat(pid, &st) == 0)
		r.starttime = st.starttime;
	return shim_hold(s, p) != NULL && shim_record(s, &r) == 0 ? p : NULL;
}

TEST(an_end_that_came_before_its_process_was_known_is_told)
{
	pid_t pid = start_child();
	struct fixture f;
	struct proc *p;

	CHECK(pid > 0);
	end_child(pid);
	begin(&f);
	reaper_park(&f.s, pid, 7, 1);
	p = launched(&f.s, pid);
	CHECK(p != NULL);
	reaper_watch(&f.s, p);
	CHECK(p->exited && !p->lost);
	CHECK_EQ(p->status, 7);
	end(&f);
}

TEST(the_end_of_an_earlier_process_of_the_same_number_is_not_told)
{
	pid_t pid = start_child();
	struct fixture f;
	struct proc *p;

	CHECK(pid > 0);
	begin(&f);
	reaper_park(&f.s, pid, 7, 1);
	p = launched(&f.s, pid);
	CHECK(p != NULL);
	reaper_watch(&f.s, p);
	CHECK(!p->exited);
	end_child(pid);
	end(&f);
}

TEST_MAIN()
