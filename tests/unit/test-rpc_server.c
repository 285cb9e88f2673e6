#include "lib/test.h"

#include "lib/rpc_fixture.h"

TEST(a_call_is_answered)
{
	struct fixture f;
	struct answer a;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	CHECK(fixture_call(fixture_client(&f), SHIM_PATH("Create"), 0, &a) != NULL);
	fixture_pump(&f, a.n_done);
	CHECK_EQ(a.n_done, 1);
	CHECK_EQ(a.status, RPC_OK);
	CHECK_EQ(a.n_messages, 1);
	CHECK_EQ(a.pid, 42);
	fixture_done(&f);
}

TEST(a_failure_carries_its_status_and_text)
{
	static const struct {
		const char *path;
		enum rpc_status status;
		const char *text;
	} table[] = {
		{SHIM_PATH("State"), RPC_NOT_FOUND, "no such process 100%"},
		{SHIM_PATH("Nothing"), RPC_UNIMPLEMENTED, "unknown method"},
		{"/", RPC_UNIMPLEMENTED, "unknown method"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct fixture f;
		struct answer a;

		CHECK_EQ(fixture_init(&f, NULL), 0);
		(void)fixture_call(fixture_client(&f), table[i].path, 0, &a);
		fixture_pump(&f, a.n_done);
		CHECK_EQ(a.n_done, 1);
		CHECK_EQ(a.status, table[i].status);
		CHECK_STR(a.text, table[i].text);
		CHECK_EQ(a.n_messages, 0);
		fixture_done(&f);
	}
}

TEST(a_call_may_be_answered_later)
{
	struct fixture f;
	struct answer slow, quick;
	struct rpc_client *c;
	Containerd__Shim__V1__Empty empty = CONTAINERD__SHIM__V1__EMPTY__INIT;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	c = fixture_client(&f);
	(void)fixture_call(c, SHIM_PATH("Start"), 0, &slow);
	(void)fixture_call(c, SHIM_PATH("Create"), 0, &quick);
	fixture_pump(&f, quick.n_done);
	CHECK_EQ(quick.status, RPC_OK);
	CHECK(f.held != NULL && slow.n_done == 0);
	rpc_reply(f.held, &empty.base);
	CHECK_EQ(slow.n_done, 0); /* nothing is called back from within */
	fixture_pump(&f, slow.n_done);
	CHECK_EQ(slow.status, RPC_OK);
	CHECK_EQ(slow.n_messages, 1);
	CHECK_EQ(f.n_gone, 0);
	fixture_done(&f);
}

TEST(a_cancelled_call_is_told_once_and_its_reply_is_dropped)
{
	struct fixture f;
	struct answer a;
	struct rpc_client *c;
	Containerd__Shim__V1__Empty empty = CONTAINERD__SHIM__V1__EMPTY__INIT;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	c = fixture_client(&f);
	struct rpc_client_call *call = fixture_call(c, SHIM_PATH("Start"), 0, &a);

	fixture_pump(&f, f.held != NULL);
	CHECK(f.held != NULL);
	rpc_client_cancel(call);
	fixture_pump(&f, f.n_gone);
	CHECK_EQ(f.n_gone, 1);
	CHECK_EQ(f.why, RPC_GONE_CLIENT);
	CHECK(rpc_call_is_gone(f.held));
	rpc_reply(f.held, &empty.base);
	CHECK_EQ(a.n_done, 0);
	(void)fixture_call(c, SHIM_PATH("Create"), 0, &a); /* the connection goes on */
	fixture_pump(&f, a.n_done);
	CHECK_EQ(a.status, RPC_OK);
	CHECK_EQ(f.n_gone, 1);
	fixture_done(&f);
}

TEST(a_client_that_hangs_up_is_told_for_each_of_its_calls)
{
	for (int end_when_gone = 0; end_when_gone < 2; end_when_gone++) {
		struct fixture f;
		struct answer a, b;
		struct rpc_client *c;
		struct rpc_server_stats stats;

		CHECK_EQ(fixture_init(&f, NULL), 0);
		f.end_when_gone = end_when_gone;
		c = fixture_client(&f);
		(void)fixture_call(c, SHIM_PATH("Start"), 0, &a);
		(void)fixture_call(c, SHIM_PATH("Events"), 0, &b);
		fixture_pump(&f, f.held != NULL && f.stream != NULL);
		CHECK(f.held != NULL && f.stream != NULL);
		f.n_clients = 0;
		(void)rpc_client_close(c);
		fixture_pump(&f, f.n_gone == 2);
		CHECK_EQ(f.n_gone, 2);
		rpc_server_stats(f.server, &stats);
		CHECK_EQ(stats.connections, 0);
		CHECK_EQ(stats.calls, end_when_gone ? 0 : 2);
		fixture_done(&f); /* frees what nobody has ended */
	}
}

TEST(a_deadline_that_passes_is_told_to_both_sides)
{
	struct fixture f;
	struct answer a;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	(void)fixture_call(fixture_client(&f), SHIM_PATH("Start"), 30, &a);
	fixture_pump(&f, a.n_done && f.n_gone);
	CHECK_EQ(a.status, RPC_DEADLINE_EXCEEDED);
	CHECK_EQ(f.n_gone, 1);
	CHECK(rpc_call_is_gone(f.held));
	rpc_fail(f.held, RPC_INTERNAL, "too late");
	fixture_done(&f);
}

static int send_events(struct fixture *f, uint32_t *next, uint32_t end)
{
	Containerd__Shim__V1__Event e = CONTAINERD__SHIM__V1__EVENT__INIT;
	char id[1001];

	memset(id, 'x', 1000);
	id[1000] = '\0';
	e.id = id;
	while (*next < end) {
		int r;

		e.exit_status = *next + 1;
		r = rpc_stream_send(f->stream, &e.base);
		if (r < 0)
			return r;
		(*next)++;
	}
	return 0;
}

TEST(a_stream_waits_for_a_slow_reader_within_a_bound)
{
	struct fixture f;
	struct answer a, other;
	struct rpc_client *slow;
	uint32_t next = 0;
	int r = 0;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	slow = fixture_client(&f);
	(void)fixture_call(slow, SHIM_PATH("Events"), 0, &a);
	fixture_pump(&f, f.stream != NULL);
	CHECK(f.stream != NULL);
	f.n_clients = 0; /* nobody reads for it from here */
	for (int i = 0; i < 10000 && r == 0; i++) {
		r = send_events(&f, &next, next + 1);
		test_loop_round(&f.loop, 0);
	}
	CHECK_EQ(r, -EAGAIN); /* the windows, the queue and the socket are full */
	CHECK(next > 60 && next < 2000);
	CHECK_EQ(f.n_writable, 0);

	CHECK(fixture_client(&f) != NULL); /* somebody else is served meanwhile */
	(void)fixture_call(f.clients[0], SHIM_PATH("Create"), 0, &other);
	fixture_pump(&f, other.n_done);
	CHECK_EQ(other.status, RPC_OK);

	f.clients[f.n_clients++] = slow;
	while (next < 3000) {
		int before = f.n_writable;

		fixture_pump(&f, f.n_writable > before);
		CHECK(f.n_writable > before);
		r = send_events(&f, &next, 3000);
		CHECK(r == 0 || r == -EAGAIN);
	}
	rpc_finish(f.stream);
	fixture_pump(&f, a.n_done);
	CHECK_EQ(a.status, RPC_OK);
	CHECK_EQ(a.n_messages, 3000);
	CHECK_EQ(a.last_seen, 3000);
	fixture_done(&f);
}

static void endless_writable(struct rpc_call *call)
{
	Containerd__Shim__V1__Event e = CONTAINERD__SHIM__V1__EVENT__INIT;

	((struct fixture *)rpc_call_data(call))->n_writable++;
	while (rpc_stream_send(call, &e.base) == 0)
		;
}

TEST(a_stream_without_end_lets_the_loop_go_on)
{
	struct fixture f;
	struct answer a, other;
	int rounds = 0;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	(void)fixture_call(fixture_client(&f), SHIM_PATH("Events"), 0, &a);
	(void)fixture_client(&f);
	fixture_pump(&f, f.stream != NULL);
	CHECK(f.stream != NULL);
	rpc_call_set_hooks(f.stream, fixture_gone, endless_writable, &f);
	endless_writable(f.stream);
	(void)fixture_call(f.clients[1], SHIM_PATH("Create"), 0, &other);
	for (; rounds < 1000 && !other.n_done; rounds++)
		fixture_round(&f);
	CHECK_EQ(other.status, RPC_OK);
	CHECK(rounds < 20);
	CHECK(a.n_messages > 0 && f.n_writable > 1);
	fixture_done(&f);
}

TEST(a_message_goes_into_an_empty_queue_whatever_its_size)
{
	struct fixture f;
	struct answer a;
	Containerd__Shim__V1__Event e = CONTAINERD__SHIM__V1__EVENT__INIT;
	char *id = malloc((5 << 20) + 1);

	memset(id, 'x', 5 << 20);
	id[5 << 20] = '\0';
	e.id = id;
	CHECK_EQ(fixture_init(&f, NULL), 0);
	(void)fixture_call(fixture_client(&f), SHIM_PATH("Events"), 0, &a);
	fixture_pump(&f, f.stream != NULL);
	CHECK(f.stream != NULL);
	CHECK_EQ(rpc_stream_send(f.stream, &e.base), -E2BIG);
	id[3 << 20] = '\0';
	CHECK_EQ(rpc_stream_send(f.stream, &e.base), 0);
	CHECK_EQ(rpc_stream_send(f.stream, &e.base), -EAGAIN);
	fixture_pump(&f, f.n_writable);
	CHECK_EQ(rpc_stream_send(f.stream, &e.base), 0);
	rpc_fail(f.stream, RPC_ABORTED, "enough");
	fixture_pump(&f, a.n_done);
	CHECK_EQ(a.n_messages, 2);
	CHECK_EQ(a.status, RPC_ABORTED);
	CHECK_STR(a.text, "enough");
	fixture_done(&f);
	free(id);
}

TEST(a_request_is_taken_up_to_its_limit_and_refused_over_it)
{
	static const struct {
		size_t id_bytes;
		enum rpc_status status;
	} table[] = {{3 << 20, RPC_OK}, {(4 << 20) - 5, RPC_OK}, {4 << 20, RPC_RESOURCE_EXHAUSTED}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct fixture f;
		struct answer a = {0};
		Containerd__Shim__V1__CreateRequest q = CONTAINERD__SHIM__V1__CREATE_REQUEST__INIT;
		char *id = malloc(table[i].id_bytes + 1);

		memset(id, 'x', table[i].id_bytes);
		id[table[i].id_bytes] = '\0';
		q.id = id;
		CHECK_EQ(fixture_init(&f, NULL), 0);
		CHECK_EQ(rpc_client_start(fixture_client(&f), SHIM_PATH("Create"), &q.base,
					  &containerd__shim__v1__create_response__descriptor, 0,
					  &answer_ops, &a, NULL),
			 0);
		fixture_pump(&f, a.n_done);
		CHECK_EQ(a.status, table[i].status);
		if (a.status == RPC_OK)
			CHECK_EQ(a.pid, 42 + table[i].id_bytes);
		(void)fixture_call(f.clients[0], SHIM_PATH("Create"), 0, &a);
		fixture_pump(&f, a.n_done);
		CHECK_EQ(a.status, RPC_OK); /* the connection is whole */
		fixture_done(&f);
		free(id);
	}
}

TEST(many_clients_with_many_calls_are_all_answered)
{
	enum { CLIENTS = 100, CALLS = 5 };
	struct fixture f;
	static struct answer a[CLIENTS * CALLS];
	int n_done = 0;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	for (int i = 0; i < CLIENTS; i++) {
		struct rpc_client *c = fixture_client(&f);

		CHECK(c != NULL);
		for (int j = 0; j < CALLS; j++)
			(void)fixture_call(c, SHIM_PATH("Create"), 0, &a[i * CALLS + j]);
	}
	for (int round = 0; round < 2000 && n_done < CLIENTS * CALLS; round++) {
		fixture_round(&f);
		n_done = 0;
		for (int i = 0; i < CLIENTS * CALLS; i++)
			n_done += a[i].n_done;
	}
	CHECK_EQ(n_done, CLIENTS * CALLS);
	for (int i = 0; i < CLIENTS * CALLS; i++)
		CHECK(a[i].status == RPC_OK && a[i].n_messages == 1);
	fixture_done(&f);
}

TEST(at_the_limit_an_idle_client_makes_room_and_a_busy_one_does_not)
{
	const struct rpc_limits limits = {.max_connections = 2};
	struct fixture f;
	struct answer busy, idle, late;
	struct rpc_client *second;
	int fd;

	CHECK_EQ(fixture_init(&f, &limits), 0);
	(void)fixture_call(fixture_client(&f), SHIM_PATH("Start"), 0, &busy);
	second = fixture_client(&f);
	(void)fixture_call(second, SHIM_PATH("Create"), 0, &idle);
	fixture_pump(&f, idle.n_done && f.held != NULL);
	CHECK(idle.n_done == 1 && f.held != NULL);

	CHECK(fixture_client(&f) != NULL); /* in the place of the second */
	(void)fixture_call(f.clients[2], SHIM_PATH("Events"), 0, &late);
	fixture_pump(&f, f.stream != NULL);
	CHECK(f.stream != NULL);
	CHECK_EQ(busy.n_done, 0);
	CHECK(fixture_call(second, SHIM_PATH("Create"), 0, &idle) == NULL); /* it was hung up on */

	fd = fixture_socket(&f); /* nobody to make room */
	CHECK_EQ(fd, -1);
	fixture_done(&f);
}

TEST(a_peer_that_is_not_allowed_is_not_served)
{
	struct fixture f;
	struct rpc_server_stats stats;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	f.refuse_peers = true;
	CHECK(fixture_client(&f) == NULL);
	rpc_server_stats(f.server, &stats);
	CHECK_EQ(stats.n_refused_peers, 1);
	CHECK_EQ(stats.connections, 0);
	fixture_done(&f);
}

TEST(a_shutdown_lets_calls_finish_and_ends_streams)
{
	struct fixture f;
	struct answer slow, stream, bye, late;
	struct rpc_client *c;
	Containerd__Shim__V1__Empty empty = CONTAINERD__SHIM__V1__EMPTY__INIT;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	f.end_when_gone = true;
	c = fixture_client(&f);
	(void)fixture_client(&f); /* one with nothing to say */
	(void)fixture_call(c, SHIM_PATH("Start"), 0, &slow);
	(void)fixture_call(c, SHIM_PATH("Events"), 0, &stream);
	fixture_pump(&f, f.held != NULL && f.stream != NULL);
	CHECK(f.held != NULL && f.stream != NULL);
	(void)fixture_call(c, SHIM_PATH("Exit"), 0, &bye);
	fixture_pump(&f, bye.n_done && stream.n_done);
	CHECK_EQ(bye.status, RPC_OK);
	CHECK_EQ(stream.status, RPC_UNAVAILABLE);
	CHECK_EQ(f.why, RPC_GONE_SHUTDOWN);
	CHECK_EQ(slow.n_done, 0);
	CHECK_EQ(f.n_drained, 0);
	(void)fixture_call(c, SHIM_PATH("Create"), 0, &late);
	fixture_pump(&f, late.n_done);
	CHECK(late.status != RPC_OK);
	CHECK_EQ(slow.n_done, 0);
	rpc_reply(f.held, &empty.base);
	fixture_pump(&f, slow.n_done && f.n_drained);
	CHECK_EQ(slow.status, RPC_OK);
	CHECK_EQ(f.n_drained, 1);
	CHECK_EQ(fixture_socket(&f), -1);
	fixture_done(&f);
}

TEST(a_server_can_be_freed_with_calls_open)
{
	for (int end_when_gone = 0; end_when_gone < 2; end_when_gone++) {
		struct fixture f;
		struct answer a, b;
		struct rpc_client *c;

		CHECK_EQ(fixture_init(&f, NULL), 0);
		f.end_when_gone = end_when_gone;
		c = fixture_client(&f);
		(void)fixture_call(c, SHIM_PATH("Start"), 0, &a);
		(void)fixture_call(c, SHIM_PATH("Events"), 0, &b);
		fixture_pump(&f, f.held != NULL && f.stream != NULL);
		CHECK(f.held != NULL && f.stream != NULL);
		f.server = rpc_server_free(f.server);
		CHECK_EQ(f.n_gone, 2);
		CHECK_EQ(f.why, RPC_GONE_SHUTDOWN);
		fixture_done(&f);
	}
}

TEST(a_connection_that_says_nothing_is_closed)
{
	const struct rpc_limits limits = {.handshake_ms = 20};
	struct fixture f;
	struct rpc_server_stats stats;
	int fd;

	CHECK_EQ(fixture_init(&f, &limits), 0);
	fd = fixture_socket(&f);
	CHECK(fd >= 0);
	do {
		test_loop_round(&f.loop, 1000);
		rpc_server_stats(f.server, &stats);
	} while (stats.connections > 0);
	(void)close(fd);
	fixture_done(&f);
}

TEST_MAIN()
