#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "lib/test.h"

#include "lib/rpc_fixture.h"

/* A child that serves the fixture's methods on a socket at dir/shim.sock, until it is killed. */
static pid_t serve(const char *dir)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "shim.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int cwd_fd = open(".", O_PATH | O_CLOEXEC);
	pid_t parent = getpid(), pid;
	static struct fixture f;

	/* Through the working directory: the path may be longer than an address. */
	if (fd < 0 || cwd_fd < 0 || chdir(dir) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 16) < 0 || fchdir(cwd_fd) < 0)
		return -1;
	(void)close(cwd_fd);
	pid = fork();
	if (pid != 0) {
		(void)close(fd);
		return pid;
	}
	(void)fixture_init(&f, NULL);
	(void)parent;
	f.server = rpc_server_free(f.server);
	struct rpc_server_options o = {.loop = &f.loop.loop, .methods = fixture_methods, .ctx = &f};
	if (rpc_server_new(&o, &f.server, NULL) < 0 || rpc_server_listen(f.server, fd) < 0)
		_exit(1);
	while (f.n_drained == 0)
		test_loop_round(&f.loop, 60000);
	_exit(0);
}

static char *make_dir(char *out, size_t n, bool deep)
{
	char base[] = "/tmp/rpc-test-XXXXXX";

	if (mkdtemp(base) == NULL)
		return NULL;
	(void)snprintf(out, n, "%s", base);
	if (deep) {
		for (int i = 0; i < 4; i++) {
			size_t len = strlen(out);

			(void)snprintf(out + len, n - len, "/%040d", i);
			(void)mkdir(out, 0700);
		}
	}
	return out;
}

static void remove_dir(const char *dir)
{
	char base[] = "/tmp/rpc-test-XXXXXX";

	memcpy(base, dir, sizeof(base) - 1);
	(void)fd_remove_tree(AT_FDCWD, base);
}

static int create(struct rpc_client *c, uint64_t timeout_ms, uint32_t *ret_pid, struct err *err)
{
	Containerd__Shim__V1__CreateRequest q = CONTAINERD__SHIM__V1__CREATE_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	int r = rpc_client_call(c, SHIM_PATH("Create"), &q.base,
				&containerd__shim__v1__create_response__descriptor, timeout_ms, &m,
				err);

	if (r == 0) {
		*ret_pid = ((Containerd__Shim__V1__CreateResponse *)m)->pid;
		protobuf_c_message_free_unpacked(m, NULL);
	}
	return r;
}

TEST(a_call_blocks_for_its_answer_over_a_path_of_any_length)
{
	for (int deep = 0; deep < 2; deep++) {
		char dir[512], path[600];
		struct rpc_client *c = NULL;
		struct err err = {0};
		uint32_t pid = 0;
		pid_t server;
		int status;
		Containerd__Shim__V1__StateRequest q = CONTAINERD__SHIM__V1__STATE_REQUEST__INIT;

		CHECK(make_dir(dir, sizeof(dir), deep) != NULL);
		(void)snprintf(path, sizeof(path), "%s/shim.sock", dir);
		CHECK(!deep || strlen(path) > 107);
		server = serve(dir);
		CHECK(server > 0);
		CHECK_EQ(rpc_client_connect(path, &c, &err), 0);
		CHECK_EQ(create(c, 20000, &pid, &err), 0);
		CHECK_EQ(pid, 42);
		CHECK_EQ(rpc_client_call(c, SHIM_PATH("State"), &q.base,
					 &containerd__shim__v1__state_response__descriptor, 20000,
					 NULL, &err),
			 -ENOENT);
		CHECK_EQ(err.detail, RPC_NOT_FOUND);
		CHECK_STR(err.msg, "no such process 100%");
		CHECK_EQ(rpc_client_call(c, SHIM_PATH("Start"), &q.base,
					 &containerd__shim__v1__empty__descriptor, 30, NULL, &err),
			 -ETIMEDOUT);
		CHECK_EQ(rpc_client_call(c, SHIM_PATH("Exit"), &q.base,
					 &containerd__shim__v1__empty__descriptor, 20000, NULL,
					 &err),
			 0);
		CHECK_EQ(waitpid(server, &status, 0), server);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		CHECK(create(c, 20000, &pid, &err) < 0);
		c = rpc_client_close(c);
		remove_dir(dir);
	}
}

TEST(connecting_says_what_is_wrong)
{
	char dir[512], path[600];
	struct rpc_client *c = NULL;
	struct err err = {0};

	CHECK(make_dir(dir, sizeof(dir), false) != NULL);
	(void)snprintf(path, sizeof(path), "%s/shim.sock", dir);
	CHECK_EQ(rpc_client_connect(path, &c, &err), -ENOENT);
	CHECK(strstr(err.msg, path) != NULL);
	CHECK(c == NULL);
	pid_t server = serve(dir);

	CHECK(server > 0);
	CHECK_EQ(kill(server, SIGKILL), 0);
	CHECK_EQ(waitpid(server, NULL, 0), server);
	CHECK_EQ(rpc_client_connect(path, &c, &err), -ECONNREFUSED);
	remove_dir(dir);
}

TEST(a_server_that_says_nothing_costs_the_deadline_and_no_more)
{
	int fds[2];
	struct rpc_client *c = NULL;
	struct err err = {0};
	uint32_t pid;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	CHECK_EQ(rpc_client_adopt(fds[0], &c, NULL), 0);
	CHECK_EQ(create(c, 30, &pid, &err), -ETIMEDOUT);
	CHECK_EQ(err.detail, RPC_DEADLINE_EXCEEDED);
	(void)close(fds[1]);
	CHECK_EQ(create(c, 20000, &pid, &err), -EPIPE);
	c = rpc_client_close(c);
}

TEST(a_server_that_talks_nonsense_ends_the_call)
{
	static const char *const table[] = {
		"HTTP/1.1 400 Bad Request\r\n\r\n",
		"\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0",
		"x",
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int fds[2];
		struct rpc_client *c = NULL;
		struct err err = {0};
		uint32_t pid;

		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		CHECK_EQ(rpc_client_adopt(fds[0], &c, NULL), 0);
		CHECK(write(fds[1], table[i], strlen(table[i]) + 1) > 0);
		(void)shutdown(fds[1], SHUT_WR);
		CHECK(create(c, 20000, &pid, &err) < 0);
		(void)close(fds[1]);
		c = rpc_client_close(c);
	}
}

TEST(a_client_can_be_closed_with_calls_under_way)
{
	struct fixture f;
	struct answer a;

	CHECK_EQ(fixture_init(&f, NULL), 0);
	(void)fixture_call(fixture_client(&f), SHIM_PATH("Start"), 0, &a);
	(void)fixture_call(f.clients[0], SHIM_PATH("Events"), 0, &a);
	fixture_round(&f);
	fixture_done(&f);
	CHECK_EQ(a.n_done, 0);
}

TEST_MAIN()
