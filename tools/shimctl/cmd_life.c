/* create start delete exec: the life of a process. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shimctl/attach.h"
#include "shimctl/paths.h"
#include "shimctl/shimctl.h"

/* What create and exec have in common. */
struct launch {
	const char *in, *out, *err;
	bool tty, attach;
};

#define LAUNCH_SHORTS "at"
#define LAUNCH_OPTIONS                                                                     \
	{"stdin", required_argument, NULL, 'I'}, {"stdout", required_argument, NULL, 'O'}, \
		{"stderr", required_argument, NULL, 'E'}, {"tty", no_argument, NULL, 't'}, \
	{                                                                                  \
		"attach", no_argument, NULL, 'a'                                           \
	}

static bool launch_option(struct launch *l, int o)
{
	switch (o) {
	case 'I':
		l->in = optarg;
		return true;
	case 'O':
		l->out = optarg;
		return true;
	case 'E':
		l->err = optarg;
		return true;
	case 't':
		l->tty = true;
		return true;
	case 'a':
		l->attach = true;
		return true;
	default:
		return target_option(o);
	}
}

/* Attach to pid until its end; an exit status of ours. */
static int attach_to(const struct cli_program *p, struct rpc_client *c, struct fifos *f,
		     uint32_t pid)
{
	struct attach a;
	struct err err = {0};
	int status = CLI_FAILED, r;

	r = attach_begin(&a, c, f, pid, &err);
	if (r == 0)
		r = attach_run(&a, &status, &err);
	attach_end(&a);
	if (r < 0)
		return shim_fail(p, "attach", &err, r);
	if (err.code != 0)
		(void)cli_usage_error(p, "%s", err.msg);
	return status;
}

/* ---- create ---- */

struct create {
	struct launch launch;
	const char *id, *bundle, *runtime;
};

static int create_call(struct rpc_client *c, const struct create *o, const struct fifos *f,
		       uint32_t *ret_pid, struct err *err)
{
	SHIM(CreateRequest) q = CONTAINERD__SHIM__V1__CREATE_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	char bundle[4096], runtime[4096];
	int r;

	/* The shim has a working directory of its own. */
	if (realpath(o->bundle != NULL ? o->bundle : ".", bundle) == NULL)
		return err_errno(err, errno, "find the bundle");
	r = path_of_program(o->runtime != NULL ? o->runtime : "runc", runtime, sizeof(runtime),
			    err);
	if (r < 0)
		return r;
	q.id = (char *)o->id;
	q.bundle = bundle;
	q.runtime = runtime;
	q.terminal = o->launch.tty;
	q.stdin = (char *)f->in;
	q.stdout = (char *)f->out;
	q.stderr = (char *)f->err;
	r = shim_call(c, "Create", &q.base, SHIM_DESCRIPTOR(create_response), NO_TIMEOUT_MS, &m,
		      err);
	if (r < 0)
		return r;
	*ret_pid = ((SHIM(CreateResponse) *)m)->pid;
	protobuf_c_message_free_unpacked(m, NULL);
	return 0;
}

static int create_with(const struct cli_program *p, const struct create *o, struct rpc_client *c,
		       struct fifos *f)
{
	struct err err = {0};
	uint32_t pid = 0;
	int r = fifos_make(f, o->launch.in, o->launch.out, o->launch.err, o->launch.tty,
			   o->launch.attach, &err);

	if (r < 0)
		return shim_fail(p, "create", &err, r);
	r = create_call(c, o, f, &pid, &err);
	if (r < 0)
		return shim_fail(p, "create", &err, r);
	printf("container created with id %s and pid %" PRIu32 "\n", o->id, pid);
	(void)fflush(stdout);
	return o->launch.attach ? attach_to(p, c, f, pid) : CLI_OK;
}

int cmd_create(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {LAUNCH_OPTIONS,
					      {"bundle", required_argument, NULL, 'b'},
					      {"runtime", required_argument, NULL, 'r'},
					      TARGET_OPTIONS,
					      {0}};
	struct create o = {0};
	struct rpc_client *c = NULL;
	struct fifos f;
	struct err err = {0};
	int opt, status, r;

	while ((opt = cli_getopt(p, argc, argv, LAUNCH_SHORTS, longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		if (opt == 'b')
			o.bundle = optarg;
		else if (opt == 'r')
			o.runtime = optarg;
		else
			(void)launch_option(&o.launch, opt);
	}
	if (argc - optind != 1 || argv[optind][0] == '\0')
		return cli_usage_error(p, "container id must be provided");
	o.id = argv[optind];
	r = target_connect(&c, &err);
	if (r < 0)
		return shim_fail(p, NULL, &err, r);
	fifos_init(&f);
	status = create_with(p, &o, c, &f);
	fifos_done(&f);
	(void)rpc_client_close(c);
	return status;
}

/* ---- start, delete ---- */

int cmd_start(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {TARGET_OPTIONS, {0}};
	SHIM(StartRequest) q = CONTAINERD__SHIM__V1__START_REQUEST__INIT;
	struct rpc_client *c = NULL;
	struct err err = {0};
	int opt, status, r;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		(void)target_option(opt);
	}
	if (optind != argc)
		return cli_usage_error(p, "start takes no arguments");
	r = target_connect(&c, &err);
	if (r == 0)
		r = shim_call_empty(c, "Start", &q.base, NO_TIMEOUT_MS, &err);
	(void)rpc_client_close(c);
	return r < 0 ? shim_fail(p, "start", &err, r) : CLI_OK;
}

int cmd_delete(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {TARGET_OPTIONS, {0}};
	SHIM(DeleteRequest) q = CONTAINERD__SHIM__V1__DELETE_REQUEST__INIT;
	struct rpc_client *c = NULL;
	ProtobufCMessage *m = NULL;
	struct err err = {0};
	int opt, status, r;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		(void)target_option(opt);
	}
	if (argc - optind != 1)
		return cli_usage_error(p, "delete takes the pid of a process");
	if (!parse_pid(p, argv[optind], /* allow_init= */ false, &q.pid))
		return CLI_FAILED;
	r = target_connect(&c, &err);
	if (r == 0)
		r = shim_call(c, "Delete", &q.base, SHIM_DESCRIPTOR(delete_response), NO_TIMEOUT_MS,
			      &m, &err);
	(void)rpc_client_close(c);
	if (m == NULL)
		return shim_fail(p, "delete", &err, r);
	printf("container deleted and returned exit status %" PRIu32 "\n",
	       ((SHIM(DeleteResponse) *)m)->exit_status);
	protobuf_c_message_free_unpacked(m, NULL);
	return CLI_OK;
}

/* ---- exec ---- */

struct exec {
	struct launch launch;
	SHIM(ExecRequest) q;
	SHIM(User) user;
	char **env; /* argv's strings */
};

/* "UID" or "UID:GID" */
static bool parse_user(const struct cli_program *p, const char *s, SHIM(User) * ret)
{
	char uid[16];
	const char *colon = strchr(s, ':');
	size_t n = colon != NULL ? (size_t)(colon - s) : strlen(s);

	if (n < sizeof(uid)) {
		memcpy(uid, s, n);
		uid[n] = '\0';
		if (parse_pid(p, uid, /* allow_init= */ true, &ret->uid) &&
		    (colon == NULL || parse_pid(p, colon + 1, /* allow_init= */ true, &ret->gid)))
			return true;
	}
	(void)cli_usage_error(p, "--user takes UID or UID:GID, as numbers");
	return false;
}

static int exec_with(const struct cli_program *p, struct exec *o, struct rpc_client *c,
		     struct fifos *f)
{
	struct err err = {0};
	ProtobufCMessage *m = NULL;
	uint32_t pid = 0;
	int r = fifos_make(f, o->launch.in, o->launch.out, o->launch.err, o->launch.tty,
			   o->launch.attach, &err);

	if (r < 0)
		return shim_fail(p, "exec", &err, r);
	o->q.terminal = o->launch.tty;
	o->q.stdin = f->in;
	o->q.stdout = f->out;
	o->q.stderr = f->err;
	r = shim_call(c, "Exec", &o->q.base, SHIM_DESCRIPTOR(exec_response), NO_TIMEOUT_MS, &m,
		      &err);
	if (r < 0)
		return shim_fail(p, "exec", &err, r);
	pid = ((SHIM(ExecResponse) *)m)->pid;
	protobuf_c_message_free_unpacked(m, NULL);
	if (!o->launch.attach) {
		printf("exec running with pid %" PRIu32 "\n", pid);
		return CLI_OK;
	}
	return attach_to(p, c, f, pid);
}

static int exec_option(const struct cli_program *p, struct exec *o, int opt)
{
	switch (opt) {
	case 'e':
		o->env[o->q.n_env++] = optarg;
		return CLI_OK;
	case 'c':
		o->q.cwd = optarg;
		return CLI_OK;
	case 'u':
		o->q.user = &o->user;
		return parse_user(p, optarg, &o->user) ? CLI_OK : CLI_FAILED;
	case 'n':
		o->q.no_new_privileges = true;
		return CLI_OK;
	default:
		(void)launch_option(&o->launch, opt);
		return CLI_OK;
	}
}

int cmd_exec(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {LAUNCH_OPTIONS,
					      {"env", required_argument, NULL, 'e'},
					      {"cwd", required_argument, NULL, 'c'},
					      {"user", required_argument, NULL, 'u'},
					      {"no-new-privileges", no_argument, NULL, 'n'},
					      TARGET_OPTIONS,
					      {0}};
	cleanup_free char **env = calloc((size_t)argc + 1, sizeof(*env));
	struct exec o = {.q = CONTAINERD__SHIM__V1__EXEC_REQUEST__INIT,
			 .user = CONTAINERD__SHIM__V1__USER__INIT,
			 .env = env};
	struct rpc_client *c = NULL;
	struct fifos f;
	struct err err = {0};
	int opt, status, r;

	if (env == NULL)
		return cli_fail(p, "exec", NULL, -ENOMEM);
	while ((opt = cli_getopt(p, argc, argv, LAUNCH_SHORTS "e:u:", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		if (exec_option(p, &o, opt) != CLI_OK)
			return CLI_FAILED;
	}
	if (optind == argc)
		return cli_usage_error(p, "exec takes the arguments of the process");
	o.q.env = env;
	o.q.args = argv + optind;
	o.q.n_args = (size_t)(argc - optind);
	r = target_connect(&c, &err);
	if (r < 0)
		return shim_fail(p, NULL, &err, r);
	fifos_init(&f);
	status = exec_with(p, &o, c, &f);
	fifos_done(&f);
	(void)rpc_client_close(c);
	return status;
}
