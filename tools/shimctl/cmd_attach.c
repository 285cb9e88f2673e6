/* attach: to a process that runs already. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shimctl/attach.h"
#include "shimctl/shimctl.h"

/* Process pid of what Inspect told; pid 0: init. */
static const SHIM(ProcessInfo) * find_process(const SHIM(InspectResponse) * a, uint32_t pid)
{
	for (size_t i = 0; i < a->n_processes; i++)
		if (pid == 0 ? a->processes[i]->init : a->processes[i]->pid == pid)
			return a->processes[i];
	return NULL;
}

static int inspect(struct rpc_client *c, SHIM(InspectResponse) * *ret, struct err *err)
{
	SHIM(InspectRequest) q = CONTAINERD__SHIM__V1__INSPECT_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	int r = shim_call(c, "Inspect", &q.base, SHIM_DESCRIPTOR(inspect_response), CALL_TIMEOUT_MS,
			  &m, err);

	if (r == 0)
		*ret = (SHIM(InspectResponse) *)m;
	return r;
}

static int attach_process(struct rpc_client *c, uint32_t pid, int *ret_status, struct err *err)
{
	SHIM(InspectResponse) *a = NULL;
	const SHIM(ProcessInfo) * process;
	struct fifos f;
	struct attach at;
	int r = inspect(c, &a, err);

	if (a == NULL)
		return r;
	fifos_init(&f);
	process = find_process(a, pid);
	if (process == NULL)
		r = err_set(err, ESRCH, "the container has no such process");
	else
		r = fifos_open(&f, process->stdin, process->stdout, process->stderr,
			       process->terminal, err);
	if (r == 0 && process != NULL) {
		r = attach_begin(&at, c, &f, process->pid, err);
		if (r == 0)
			r = attach_run(&at, ret_status, err);
		attach_end(&at);
	}
	fifos_done(&f);
	protobuf_c_message_free_unpacked(&a->base, NULL);
	return r;
}

int cmd_attach(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {TARGET_OPTIONS, {0}};
	struct rpc_client *c = NULL;
	struct err err = {0};
	uint32_t pid = 0;
	int opt, status, r;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		(void)target_option(opt);
	}
	if (argc - optind > 1)
		return cli_usage_error(p, "attach takes one pid, or none for init");
	if (optind < argc && !parse_pid(p, argv[optind], /* allow_init= */ true, &pid))
		return CLI_FAILED;
	r = target_connect(&c, &err);
	if (r == 0)
		r = attach_process(c, pid, &status, &err);
	(void)rpc_client_close(c);
	if (r < 0)
		return shim_fail(p, "attach", &err, r);
	if (err.code != 0)
		(void)cli_usage_error(p, "%s", err.msg);
	return status;
}
