#include "shim/task.h"

#include <errno.h>

#include "lib/test.h"

/* What was told, as letters: C created, S started, A exec added, E exit, P paused, R resumed, O. */
struct told {
	char text[2048];
	size_t n;
	pid_t last_pid;
	uint32_t last_status;
	bool last_lost;
};

static void on_event(const struct task_event *e, void *ctx)
{
	struct told *t = ctx;

	t->text[t->n++] = "EOCSAPR"[e->type];
	t->text[t->n] = '\0';
	t->last_pid = e->pid;
	t->last_status = e->status;
	t->last_lost = e->lost;
}

struct fixture {
	struct task task;
	struct told told;
	struct task_ops ops;
};

static void begin(struct fixture *f)
{
	*f = (struct fixture){0};
	f->ops = (struct task_ops){.event = on_event, .ctx = &f->told};
	task_init(&f->task);
}

static void end(struct fixture *f)
{
	task_done(&f->task, &f->ops);
}

static int apply(struct fixture *f, struct record r)
{
	return task_apply(&f->task, &r, &f->ops);
}

static int create(struct fixture *f, pid_t pid)
{
	int r = apply(f, (struct record){
				 .kind = RECORD_CREATE, .id = "c", .bundle = "/b", .runtime = "r"});

	return r < 0 ? r : apply(f, (struct record){.kind = RECORD_LAUNCHED, .pid = pid});
}

static int run(struct fixture *f, pid_t pid)
{
	int r = create(f, pid);

	return r < 0 ? r : apply(f, (struct record){.kind = RECORD_STARTED});
}

static int exec(struct fixture *f, uint32_t serial, pid_t pid)
{
	int r = apply(f, (struct record){.kind = RECORD_EXEC, .serial = serial});

	return r < 0 ? r
		     : apply(f, (struct record){
					.kind = RECORD_LAUNCHED, .serial = serial, .pid = pid});
}

/* Ends that may be told, told. */
static int settle(struct fixture *f)
{
	struct record r;
	int n = 0;

	while (task_next_exit(&f->task, &r)) {
		if (task_apply(&f->task, &r, &f->ops) < 0)
			return -1;
		n++;
	}
	return n;
}

static void ends(struct fixture *f, pid_t pid, uint32_t status)
{
	task_exited(&f->task, task_find_pid(&f->task, pid), status, /* lost= */ false, 7);
}

TEST(a_life_makes_its_events_in_order)
{
	struct fixture f;

	begin(&f);
	CHECK_EQ(run(&f, 10), 0);
	CHECK_EQ(exec(&f, 1, 11), 0);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_PAUSED}), 0);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_RESUMED}), 0);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_OOM}), 0);
	ends(&f, 11, 3);
	CHECK_EQ(settle(&f), 1);
	CHECK_EQ(f.told.last_pid, 11);
	CHECK_EQ(f.told.last_status, 3);
	ends(&f, 10, 137);
	CHECK_EQ(settle(&f), 1);
	CHECK_STR(f.told.text, "CSASPROEE");
	CHECK_EQ(f.task.phase, TASK_STOPPED);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_DELETED}), 0);
	CHECK_EQ(f.task.phase, TASK_NONE);
	CHECK_EQ(create(&f, 12), 0); /* the next container */
	end(&f);
}

TEST(an_exit_waits_for_the_start_to_be_told)
{
	struct fixture f;

	begin(&f);
	CHECK_EQ(create(&f, 10), 0);
	f.task.starting = true;
	ends(&f, 10, 0);
	CHECK_EQ(settle(&f), 0);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_STARTED}), 0);
	f.task.starting = false;
	CHECK_EQ(settle(&f), 1);
	CHECK_STR(f.told.text, "CSE");
	end(&f);
}

TEST(the_exit_of_init_waits_for_those_of_execs_but_not_for_ever)
{
	struct fixture f;

	begin(&f);
	CHECK_EQ(run(&f, 10), 0);
	CHECK_EQ(exec(&f, 1, 11), 0);
	CHECK_EQ(exec(&f, 2, 12), 0);
	ends(&f, 10, 1);
	CHECK_EQ(settle(&f), 0);
	ends(&f, 11, 2);
	CHECK_EQ(settle(&f), 1);
	CHECK_EQ(f.told.last_pid, 11);
	f.task.init_in_turn = true;
	CHECK_EQ(settle(&f), 1);
	CHECK_EQ(f.told.last_pid, 10);
	CHECK_EQ(f.task.phase, TASK_STOPPED);
	ends(&f, 12, 4);
	CHECK_EQ(settle(&f), 1);
	CHECK_EQ(f.told.last_status, 4);
	end(&f);
}

TEST(an_end_is_told_once_and_the_first_status_counts)
{
	struct fixture f;

	begin(&f);
	CHECK_EQ(run(&f, 10), 0);
	ends(&f, 10, 1);
	ends(&f, 10, 2);
	CHECK_EQ(settle(&f), 1);
	CHECK_EQ(f.told.last_status, 1);
	ends(&f, 10, 3);
	CHECK_EQ(settle(&f), 0);
	CHECK_EQ(task_init_proc(&f.task)->status, 1);
	end(&f);
}

TEST(a_pid_that_was_given_again_is_the_new_process)
{
	struct fixture f;

	begin(&f);
	CHECK_EQ(run(&f, 10), 0);
	CHECK_EQ(exec(&f, 1, 11), 0);
	ends(&f, 11, 5);
	CHECK_EQ(settle(&f), 1);
	CHECK_EQ(exec(&f, 2, 11), 0);
	CHECK_EQ(task_find_pid(&f.task, 11)->serial, 2);
	CHECK(task_find_serial(&f.task, 1) == NULL);
	CHECK_EQ(f.task.n_ended, 0);
	CHECK_EQ(exec(&f, 3, 11), -EBADMSG); /* of one that runs it cannot be */
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_FAILED, .serial = 3}), 0);
	end(&f);
}

TEST(ended_execs_that_nobody_deletes_are_bounded)
{
	struct fixture f;

	begin(&f);
	CHECK_EQ(run(&f, 10), 0);
	for (uint32_t i = 1; i <= TASK_MAX_ENDED + 10; i++) {
		CHECK_EQ(exec(&f, i, (pid_t)(100 + i)), 0);
		ends(&f, (pid_t)(100 + i), i % 256);
		CHECK_EQ(settle(&f), 1);
	}
	CHECK_EQ(f.task.n_ended, TASK_MAX_ENDED);
	CHECK(task_find_serial(&f.task, 10) == NULL);
	CHECK(task_find_serial(&f.task, 11) != NULL);
	end(&f);
}

TEST(a_failed_create_leaves_nothing_and_a_failed_exec_the_rest)
{
	struct fixture f;

	begin(&f);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_CREATE, .id = "c"}), 0);
	CHECK_EQ(task_n_launching(&f.task), 1);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_FAILED}), 0);
	CHECK_EQ(f.task.phase, TASK_NONE);
	CHECK_EQ(run(&f, 10), 0);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_EXEC, .serial = 1}), 0);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_FAILED, .serial = 1}), 0);
	CHECK_EQ(f.task.phase, TASK_RUNNING);
	CHECK_STR(f.told.text, "CS");
	end(&f);
}

TEST(what_cannot_be_true_changes_nothing)
{
	static const struct record bad[] = {
		{.kind = RECORD_CREATE, .id = "again"},
		{.kind = RECORD_LAUNCHED, .pid = 5},
		{.kind = RECORD_LAUNCHED, .serial = 9, .pid = 5},
		{.kind = RECORD_EXEC, .serial = 0},
		{.kind = RECORD_FAILED},
		{.kind = RECORD_STARTED},
		{.kind = RECORD_RESUMED},
		{.kind = RECORD_EXIT, .serial = 9},
		{.kind = RECORD_ENDED, .pid = 99},
		{.kind = RECORD_DELETED, .serial = 9},
		{.kind = RECORD_BOOT},
	};
	struct fixture f;

	begin(&f);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_EXEC, .serial = 1}), -EBADMSG);
	CHECK_EQ(run(&f, 10), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (apply(&f, bad[i]) != -EBADMSG)
			TEST_FAIL("record %zu was taken", i);
	CHECK_STR(f.told.text, "CS");
	CHECK_EQ(f.task.phase, TASK_RUNNING);
	end(&f);
}

TEST(what_may_be_done_depends_on_the_phase)
{
	struct fixture f;
	struct err err;

	begin(&f);
	CHECK_EQ(task_may_create(&f.task, &err), 0);
	CHECK_EQ(task_may_start(&f.task, &err), -ENOENT);
	CHECK_EQ(task_must_live(&f.task, &err), -ENOENT);
	CHECK_EQ(create(&f, 10), 0);
	CHECK_EQ(task_may_create(&f.task, &err), -EEXIST);
	CHECK_EQ(task_may_start(&f.task, &err), 0);
	CHECK_EQ(task_may_exec(&f.task, &err), 0);
	CHECK_EQ(task_may_pause(&f.task, &err), -EBUSY);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_STARTED}), 0);
	CHECK_EQ(task_may_start(&f.task, &err), -EBUSY);
	CHECK_STR(err.msg, "the container is running");
	CHECK_EQ(task_may_pause(&f.task, &err), 0);
	CHECK_EQ(apply(&f, (struct record){.kind = RECORD_PAUSED}), 0);
	CHECK_EQ(task_may_exec(&f.task, &err), -EBUSY);
	CHECK_EQ(task_may_resume(&f.task, &err), 0);
	ends(&f, 10, 137); /* also what is frozen can be killed */
	CHECK_EQ(settle(&f), 1);
	CHECK_EQ(task_must_live(&f.task, &err), -EBUSY);
	CHECK_EQ(task_must_exist(&f.task, &err), 0);
	end(&f);
}

TEST(a_wait_status_becomes_one_number)
{
	CHECK_EQ(task_exit_status(0), 0);
	CHECK_EQ(task_exit_status(7 << 8), 7);
	CHECK_EQ(task_exit_status(9), 137);
	CHECK_EQ(task_exit_status(11 | 0x80), 139); /* with a core */
}

TEST_MAIN()
