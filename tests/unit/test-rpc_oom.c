/*
 * Memory that runs out at every place once: a call may fail, the server goes on.
 */
#include "lib/test.h"

#include "lib/rpc_fixture.h"

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

static int countdown = -1; /* the allocation that fails; -1: none */
static bool failed;

static bool fails_now(void)
{
	if (countdown != 0) {
		countdown -= countdown > 0;
		return false;
	}
	countdown = -1;
	failed = true;
	return true;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails_now() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return fails_now() ? NULL : __real_strdup(s);
}

/* Everything once: answers, failures, a stream, a deadline, a client that leaves. */
static void exercise(struct fixture *f)
{
	struct answer a[5];
	struct rpc_client *c = fixture_client(f);
	Containerd__Shim__V1__Event e = CONTAINERD__SHIM__V1__EVENT__INIT;

	if (c == NULL)
		return;
	(void)fixture_call(c, SHIM_PATH("Create"), 0, &a[0]);
	(void)fixture_call(c, SHIM_PATH("State"), 0, &a[1]);
	(void)fixture_call(c, SHIM_PATH("Nothing"), 0, &a[2]);
	(void)fixture_call(c, SHIM_PATH("Start"), 1, &a[3]);
	(void)fixture_call(c, SHIM_PATH("Events"), 0, &a[4]);
	for (int i = 0; i < 20; i++) {
		if (f->stream != NULL && i < 10)
			(void)rpc_stream_send(f->stream, &e.base);
		if (f->stream != NULL && i == 10) {
			rpc_finish(f->stream);
			f->stream = NULL;
		}
		fixture_round(f);
	}
	f->clients[--f->n_clients] = NULL;
	(void)rpc_client_close(c);
	test_loop_round(&f->loop, 1);
}

TEST(an_allocation_that_fails_costs_a_call_at_most)
{
	int n = 0;

	do {
		struct fixture f;
		struct answer a;

		CHECK_EQ(fixture_init(&f, NULL), 0);
		f.end_when_gone = true;
		countdown = n++;
		failed = false;
		exercise(&f);
		countdown = -1;
		CHECK(fixture_client(&f) != NULL);
		(void)fixture_call(f.clients[0], SHIM_PATH("Create"), 0, &a);
		fixture_pump(&f, a.n_done);
		CHECK_EQ(a.status, RPC_OK);
		fixture_done(&f);
	} while (failed);
	CHECK(n > 20);
	printf("# %d places\n", n);
}

TEST_MAIN()
