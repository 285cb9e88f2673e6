#include "base/workqueue.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/test.h"

struct job {
	struct work work;
	struct shared *shared;
	int number;
};

struct shared {
	struct workqueue *q;
	pthread_barrier_t all;
	atomic_int n_run, highest, out_of_order;
};

static void count(struct work *w)
{
	struct job *j = list_entry(w, struct job, work);

	atomic_fetch_add(&j->shared->n_run, 1);
}

TEST(every_job_is_run_once_also_those_that_wait_at_the_end)
{
	static struct job jobs[1000];
	struct shared s = {0};

	for (int round = 0; round < 20; round++) {
		atomic_store(&s.n_run, 0);
		CHECK_EQ(workqueue_new(3, &s.q), 0);
		for (int i = 0; i < 1000; i++) {
			jobs[i] = (struct job){.work.run = count, .shared = &s};
			workqueue_add(s.q, &jobs[i].work);
		}
		CHECK(workqueue_free(s.q) == NULL);
		CHECK_EQ(atomic_load(&s.n_run), 1000);
	}
	CHECK(workqueue_free(NULL) == NULL);
}

static void meet(struct work *w)
{
	struct job *j = list_entry(w, struct job, work);

	(void)pthread_barrier_wait(&j->shared->all); /* only so many at once come past */
}

TEST(as_many_jobs_run_at_once_as_was_said)
{
	struct job jobs[4];
	struct shared s = {0};

	(void)pthread_barrier_init(&s.all, NULL, 4);
	CHECK_EQ(workqueue_new(4, &s.q), 0);
	for (int i = 0; i < 4; i++) {
		jobs[i] = (struct job){.work.run = meet, .shared = &s};
		workqueue_add(s.q, &jobs[i].work);
	}
	CHECK(workqueue_free(s.q) == NULL);
	(void)pthread_barrier_destroy(&s.all);
}

static void in_order(struct work *w)
{
	struct job *j = list_entry(w, struct job, work);

	if (j->number != atomic_load(&j->shared->highest) + 1)
		atomic_fetch_add(&j->shared->out_of_order, 1);
	atomic_store(&j->shared->highest, j->number);
}

TEST(one_thread_runs_jobs_in_their_order)
{
	static struct job jobs[500];
	struct shared s = {0};

	CHECK_EQ(workqueue_new(1, &s.q), 0);
	for (int i = 0; i < 500; i++) {
		jobs[i] = (struct job){.work.run = in_order, .shared = &s, .number = i + 1};
		workqueue_add(s.q, &jobs[i].work);
	}
	CHECK(workqueue_free(s.q) == NULL);
	CHECK_EQ(atomic_load(&s.highest), 500);
	CHECK_EQ(atomic_load(&s.out_of_order), 0);
}

static void add_another(struct work *w)
{
	struct job *j = list_entry(w, struct job, work);

	if (atomic_fetch_add(&j->shared->n_run, 1) < 99)
		workqueue_add(j->shared->q, &j->work);
}

TEST(a_job_may_add_itself_again)
{
	struct shared s = {0};
	struct job j = {.work.run = add_another, .shared = &s};

	CHECK_EQ(workqueue_new(2, &s.q), 0);
	workqueue_add(s.q, &j.work);
	CHECK(workqueue_free(s.q) == NULL);
	CHECK_EQ(atomic_load(&s.n_run), 100);
}

/* No thread can be started: the one that adds runs the job. */
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
static bool no_threads;

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	return no_threads ? EAGAIN : __real_pthread_create(t, attr, run, arg);
}

TEST(without_any_thread_the_caller_runs_the_job)
{
	struct shared s = {0};
	struct job j = {.work.run = count, .shared = &s};

	no_threads = true;
	CHECK_EQ(workqueue_new(2, &s.q), 0);
	workqueue_add(s.q, &j.work);
	CHECK_EQ(atomic_load(&s.n_run), 1);
	CHECK(workqueue_free(s.q) == NULL);
	no_threads = false;
}

TEST_MAIN()
