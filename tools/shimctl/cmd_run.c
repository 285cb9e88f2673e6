/* run: a shim, a container in it, attached until its end, and nothing left behind. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "shimctl/attach.h"
#include "shimctl/interrupt.h"
#include "shimctl/paths.h"
#include "shimctl/run_image.h"
#include "shimctl/run_shim.h"
#include "shimctl/shimctl.h"

struct run {
	const char *id, *runtime, *shim, *bundle, *root;
	char *const *args;
	size_t n_args;
	bool tty, no_pivot;
	char dir[2200];
	pid_t shim_pid;
	struct rpc_client *client;
	struct fifos fifos;
	uint32_t pid;
	bool detached;
	struct interrupt interrupt;
};

/* Whoever wants us to end before there is a process to pass that on to gets it. */
static int check_interrupt(struct run *o, struct err *err)
{
	int sig = interrupt_taken(&o->interrupt);

	return sig == 0 ? 0 : err_set(err, EINTR, "ended by signal %d", sig);
}

static int create(struct run *o, struct err *err)
{
	SHIM(CreateRequest) q = CONTAINERD__SHIM__V1__CREATE_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	char bundle[2300], runtime[4096];
	int r = path_of_program(o->runtime != NULL ? o->runtime : "runc", runtime, sizeof(runtime),
				err);

	if (r < 0)
		return r;
	(void)snprintf(bundle, sizeof(bundle), "%s/bundle", o->dir);
	r = fifos_make(&o->fifos, NULL, NULL, NULL, o->tty, /* attach= */ true, err);
	if (r < 0)
		return r;
	q.id = (char *)o->id;
	q.bundle = bundle;
	q.runtime = runtime;
	q.no_pivot = o->no_pivot;
	q.terminal = o->tty;
	q.stdin = o->fifos.in;
	q.stdout = o->fifos.out;
	q.stderr = o->fifos.err;
	r = shim_call(o->client, "Create", &q.base, SHIM_DESCRIPTOR(create_response), NO_TIMEOUT_MS,
		      &m, err);
	if (r < 0)
		return r;
	o->pid = ((SHIM(CreateResponse) *)m)->pid;
	protobuf_c_message_free_unpacked(m, NULL);
	return 0;
}

/* Attached before it starts, so that not a byte and not the exit is missed. */
static int start_and_attach(struct run *o, int *ret_status, struct err *err)
{
	SHIM(StartRequest) q = CONTAINERD__SHIM__V1__START_REQUEST__INIT;
	struct attach a;
	int r = attach_begin(&a, o->client, &o->fifos, o->pid, err);

	if (r == 0)
		r = shim_call_empty(o->client, "Start", &q.base, NO_TIMEOUT_MS, err);
	if (r == 0)
		r = attach_run(&a, ret_status, err);
	attach_end(&a);
	o->detached = a.detached != 0;
	return r;
}

static int delete_container(struct run *o, struct err *err)
{
	SHIM(DeleteRequest) q = CONTAINERD__SHIM__V1__DELETE_REQUEST__INIT;

	q.pid = o->pid;
	return shim_call(o->client, "Delete", &q.base, SHIM_DESCRIPTOR(delete_response),
			 NO_TIMEOUT_MS, NULL, err);
}

static int exit_shim(struct run *o, struct err *err)
{
	SHIM(ExitRequest) q = CONTAINERD__SHIM__V1__EXIT_REQUEST__INIT;
	int r = shim_call_empty(o->client, "Exit", &q.base, CALL_TIMEOUT_MS, err);

	if (r == -EPIPE) /* it was quicker than its answer */
		r = 0;
	if (r == 0)
		run_shim_wait(o->shim_pid);
	return r;
}

/* With a shim that runs. What fails after the container's end fails loudly, and leaves its traces.
 */
static int run_in_shim(const struct cli_program *p, struct run *o, int *ret_status)
{
	struct err err = {0}, later = {0};
	int r = create(o, &err);

	if (r == 0)
		r = check_interrupt(o, &err);
	if (r == 0)
		r = start_and_attach(o, ret_status, &err);
	if (o->detached) {
		(void)cli_usage_error(p, "detached; the container goes on, its shim is in %s",
				      o->dir);
		return -EINTR;
	}
	if (r < 0)
		(void)shim_fail(p, "run", &err, r);
	else if (err.code != 0)
		(void)cli_usage_error(p, "%s", err.msg);
	if (o->pid != 0) {
		int d = delete_container(o, &later);

		if (d < 0) {
			(void)shim_fail(p, "delete", &later, d);
			return d;
		}
	}
	if (exit_shim(o, &later) < 0)
		return shim_fail(p, "exit", &later, -later.code), -EIO;
	run_dir_remove(o->dir);
	return r;
}

static int make_bundle(struct run *o, struct err *err)
{
	const struct run_image image = {.root = o->root,
					.name = o->bundle,
					.args = o->args,
					.n_args = o->n_args,
					.tty = o->tty};

	if (run_is_bundle(o->bundle))
		return run_bundle_make(o->dir, o->bundle, o->args, o->n_args, o->tty, err);
	return run_image_unpack(o->dir, &image, &o->interrupt, err);
}

static int run_held(const struct cli_program *p, struct run *o)
{
	struct err err = {0};
	int status = CLI_FAILED;
	int r = run_dir_make(target.dir, o->id, o->dir, sizeof(o->dir), &err);

	if (r < 0)
		return shim_fail(p, "run", &err, r);
	r = make_bundle(o, &err);
	if (r == 0)
		r = check_interrupt(o, &err);
	if (r == 0)
		r = run_shim_start(o->dir, o->shim, &o->shim_pid, &o->client, &err);
	if (r < 0) {
		run_dir_remove(o->dir);
		return shim_fail(p, "run", &err, r);
	}
	fifos_init(&o->fifos);
	r = run_in_shim(p, o, &status);
	if (!o->detached) /* the process holds on to its fifos */
		fifos_done(&o->fifos);
	(void)rpc_client_close(o->client);
	return r < 0 && !o->detached ? CLI_FAILED : status;
}

static int run(const struct cli_program *p, struct run *o)
{
	struct err err = {0};
	int status, r = interrupt_hold(&o->interrupt, &err);

	if (r < 0)
		return shim_fail(p, "run", &err, r);
	status = run_held(p, o);
	if (o->interrupt.sig != 0) /* it was taken for the end */
		status = 128 + o->interrupt.sig;
	interrupt_release(&o->interrupt);
	return status;
}

int cmd_run(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"id", required_argument, NULL, 'i'},
					      {"tty", no_argument, NULL, 't'},
					      {"runtime", required_argument, NULL, 'r'},
					      {"no-pivot", no_argument, NULL, 'n'},
					      {"shim", required_argument, NULL, 's'},
					      {"root", required_argument, NULL, 'R'},
					      TARGET_OPTIONS,
					      {0}};
	struct run o = {0};
	char id[64];
	int opt, status;

	while ((opt = cli_getopt(p, argc, argv, "t", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		if (opt == 'i')
			o.id = optarg;
		else if (opt == 't')
			o.tty = true;
		else if (opt == 'r')
			o.runtime = optarg;
		else if (opt == 'n')
			o.no_pivot = true;
		else if (opt == 's')
			o.shim = optarg;
		else if (opt == 'R')
			o.root = optarg;
		else
			(void)target_option(opt);
	}
	if (optind == argc)
		return cli_usage_error(p, "run takes an image or the directory of a bundle");
	(void)snprintf(id, sizeof(id), "run-%" PRIx64, (uint64_t)clock_wall_ns());
	if (o.id == NULL)
		o.id = id;
	if (strchr(o.id, '/') != NULL)
		return cli_usage_error(p, "an id has no slash");
	o.bundle = argv[optind];
	o.args = argv + optind + 1;
	o.n_args = (size_t)(argc - optind - 1);
	return run(p, &o);
}
