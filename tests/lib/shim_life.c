/*
 * The life of one container, timed by a client that weighs next to nothing.
 *
 *   shim-life SOCKET BUNDLE ID               by the shim of SOCKET, which then exits
 *   shim-life --runtime PROGRAM BUNDLE ID    by a runtime alone; a pid file in the working
 * directory
 *
 * Prints milliseconds: of all, of create, of start, from there to the known exit, of delete.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "rpc/client.h"
#include "shim_pb/shim.pb-c.h"

#define SHIM(name) Containerd__Shim__V1__##name
#define SHIM_DESCRIPTOR(name) (&containerd__shim__v1__##name##__descriptor)
#define METHOD(name) "/containerd.shim.v1.Shim/" name

enum { CALL_MS = 60 * 1000, RETRY_MS = 1 };

enum mark { BEGUN, CREATED, STARTED, EXITED, DELETED, N_MARKS };
static uint64_t marks[N_MARKS];

extern char **environ;

static void reach(enum mark mark)
{
	marks[mark] = clock_mono_ns();
}

static double ms(enum mark from, enum mark to)
{
	return (double)(marks[to] - marks[from]) / 1e6;
}

static void __attribute__((noreturn)) fail(const char *what, const char *why)
{
	(void)fprintf(stderr, "shim-life: %s: %s\n", what, why);
	exit(EXIT_FAILURE); /* NOLINT(concurrency-mt-unsafe): no threads */
}

/* ---- by a shim ---- */

/* One that has just been started may not listen yet. */
static struct rpc_client *connect_to(const char *socket)
{
	uint64_t until_ms = clock_mono_ms() + CALL_MS;
	struct rpc_client *c = NULL;
	struct err err = {0};
	int r;

	while ((r = rpc_client_connect(socket, &c, &err)) < 0) {
		if ((r != -ENOENT && r != -ECONNREFUSED) || clock_mono_ms() > until_ms)
			fail("connect", err.msg);
		(void)poll(NULL, 0, RETRY_MS);
	}
	return c;
}

static void call(struct rpc_client *c, const char *path, const ProtobufCMessage *q,
		 const ProtobufCMessageDescriptor *reply, ProtobufCMessage **ret)
{
	struct err err = {0};

	if (rpc_client_call(c, path, q, reply, CALL_MS, ret, &err) < 0)
		fail(path, err.msg);
}

static void on_event(struct rpc_client_call *stream, const ProtobufCMessage *m, void *data)
{
	bool *exited = data;

	(void)stream;
	if (((const SHIM(Event) *)(const void *)m)->type == CONTAINERD__SHIM__V1__EVENT_TYPE__EXIT)
		*exited = true;
}

static void wait_for_exit(struct rpc_client *c, const bool *exited)
{
	uint64_t until_ms = clock_mono_ms() + CALL_MS;

	while (!*exited) {
		struct pollfd p = {.fd = rpc_client_fd(c), .events = rpc_client_events(c)};

		if (clock_mono_ms() > until_ms)
			fail("wait for the exit", "it does not come");
		(void)poll(&p, 1, CALL_MS);
		rpc_client_process(c);
	}
}

static void live_by_shim(const char *socket, const char *bundle, const char *id)
{
	static const struct rpc_client_ops ops = {.message = on_event};
	SHIM(StateRequest) state = CONTAINERD__SHIM__V1__STATE_REQUEST__INIT;
	SHIM(EventsRequest) events = CONTAINERD__SHIM__V1__EVENTS_REQUEST__INIT;
	SHIM(CreateRequest) create = CONTAINERD__SHIM__V1__CREATE_REQUEST__INIT;
	SHIM(StartRequest) start = CONTAINERD__SHIM__V1__START_REQUEST__INIT;
	SHIM(DeleteRequest) delete = CONTAINERD__SHIM__V1__DELETE_REQUEST__INIT;
	SHIM(ExitRequest) leave = CONTAINERD__SHIM__V1__EXIT_REQUEST__INIT;
	ProtobufCMessage *created = NULL;
	struct rpc_client *c = connect_to(socket);
	bool exited = false;

	if (rpc_client_start(c, METHOD("Events"), &events.base, SHIM_DESCRIPTOR(event), 0, &ops,
			     &exited, NULL) < 0)
		fail("Events", "cannot be asked for");
	call(c, METHOD("State"), &state.base, SHIM_DESCRIPTOR(state_response), NULL);
	create.id = (char *)id;
	create.bundle = (char *)bundle;
	reach(BEGUN);
	call(c, METHOD("Create"), &create.base, SHIM_DESCRIPTOR(create_response), &created);
	reach(CREATED);
	call(c, METHOD("Start"), &start.base, SHIM_DESCRIPTOR(empty), NULL);
	reach(STARTED);
	wait_for_exit(c, &exited);
	reach(EXITED);
	delete.pid = ((SHIM(CreateResponse) *)(void *)created)->pid;
	call(c, METHOD("Delete"), &delete.base, SHIM_DESCRIPTOR(delete_response), NULL);
	reach(DELETED);
	call(c, METHOD("Exit"), &leave.base, SHIM_DESCRIPTOR(empty), NULL);
	protobuf_c_message_free_unpacked(created, NULL);
	(void)rpc_client_close(c);
}

/* ---- by a runtime alone ---- */

static void run(const char *const *argv)
{
	posix_spawn_file_actions_t actions;
	int status = 0, r = 0;
	pid_t pid;

	(void)posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < 3 && r == 0; i++)
		r = posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
	if (r == 0)
		r = posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		fail(argv[0], err_describe(r));
	if (waitpid(pid, &status, 0) != pid || status != 0)
		fail(argv[0], "has failed");
}

static pid_t read_pid(const char *name)
{
	cleanup_buf struct buf b;

	buf_init(&b, 32);
	if (fd_read_file(AT_FDCWD, name, &b) < 0)
		fail(name, "cannot be read");
	return (pid_t)strtol(b.data, NULL, 10);
}

static void live_by_runtime(const char *program, const char *bundle, const char *id)
{
	static const char pid_file[] = "shim-life.pid";
	const char *const create[] = {program,	    "create", "--bundle", bundle,
				      "--pid-file", pid_file, id,	  NULL};
	const char *const start[] = {program, "start", id, NULL};
	const char *const delete[] = {program, "delete", id, NULL};
	pid_t pid;

	/* Of a container whose runtime has gone we are the parent, as a shim is. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		fail("become a subreaper", err_describe(errno));
	reach(BEGUN);
	run(create);
	pid = read_pid(pid_file);
	reach(CREATED);
	run(start);
	reach(STARTED);
	if (waitpid(pid, NULL, 0) != pid)
		fail("wait for the process", err_describe(errno));
	reach(EXITED);
	run(delete);
	reach(DELETED);
	(void)unlink(pid_file);
}

int main(int argc, char **argv)
{
	if (argc == 4)
		live_by_shim(argv[1], argv[2], argv[3]);
	else if (argc == 5 && strcmp(argv[1], "--runtime") == 0)
		live_by_runtime(argv[2], argv[3], argv[4]);
	else
		fail("usage", "shim-life SOCKET|--runtime PROGRAM BUNDLE ID");
	(void)printf("%.3f %.3f %.3f %.3f %.3f\n", ms(BEGUN, DELETED), ms(BEGUN, CREATED),
		     ms(CREATED, STARTED), ms(STARTED, EXITED), ms(EXITED, DELETED));
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
