/* kill pause resume pty closeio update exit: say something to the container or the shim. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/size.h"
#include "shimctl/shimctl.h"

/* Connect, one call without an answer, hang up. */
static int one_call(const struct cli_program *p, const char *what, const char *method,
		    const ProtobufCMessage *q, uint64_t timeout_ms)
{
	struct rpc_client *c = NULL;
	struct err err = {0};
	int r = target_connect(&c, &err);

	if (r == 0)
		r = shim_call_empty(c, method, q, timeout_ms, &err);
	(void)rpc_client_close(c);
	return r < 0 ? shim_fail(p, what, &err, r) : CLI_OK;
}

/* Options of commands that have none of their own. Returns the exit status, or -1 to go on. */
static int only_target_options(const struct cli_program *p, int argc, char **argv, int max_args)
{
	static const struct option longs[] = {TARGET_OPTIONS, {0}};
	int opt, status;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		(void)target_option(opt);
	}
	if (argc - optind > max_args)
		return cli_usage_error(p, "%s: too many arguments", argv[0]);
	return -1;
}

/* "9", "KILL", "SIGKILL", "kill"; 0: there is none of that name. */
static int signal_number(const char *s)
{
	uint64_t v;

	if (size_parse_plain(s, &v) == 0)
		return v > 0 && v < (uint64_t)NSIG ? (int)v : 0;
	if (strncasecmp(s, "SIG", 3) == 0)
		s += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);

		if (name != NULL && strcasecmp(name, s) == 0)
			return i;
	}
	return 0;
}

int cmd_kill(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"all", no_argument, NULL, 'a'},
					      {"signal", required_argument, NULL, 's'},
					      TARGET_OPTIONS,
					      {0}};
	SHIM(KillRequest) q = CONTAINERD__SHIM__V1__KILL_REQUEST__INIT;
	const char *name = "TERM";
	int opt, status;

	while ((opt = cli_getopt(p, argc, argv, "as:", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		if (opt == 'a')
			q.all = true;
		else if (opt == 's')
			name = optarg;
		else
			(void)target_option(opt);
	}
	q.signal = (uint32_t)signal_number(name);
	if (q.signal == 0)
		return cli_usage_error(p, "there is no signal \"%s\"", name);
	if (argc - optind > 1 || (q.all && argc != optind))
		return cli_usage_error(p, "kill takes one pid, or --all, or neither for init");
	if (argc != optind && !parse_pid(p, argv[optind], /* allow_init= */ true, &q.pid))
		return CLI_FAILED;
	return one_call(p, "kill", "Kill", &q.base, NO_TIMEOUT_MS);
}

int cmd_pause(const struct cli_program *p, int argc, char **argv)
{
	SHIM(PauseRequest) q = CONTAINERD__SHIM__V1__PAUSE_REQUEST__INIT;
	int status = only_target_options(p, argc, argv, 0);

	return status >= 0 ? status : one_call(p, "pause", "Pause", &q.base, NO_TIMEOUT_MS);
}

int cmd_resume(const struct cli_program *p, int argc, char **argv)
{
	SHIM(ResumeRequest) q = CONTAINERD__SHIM__V1__RESUME_REQUEST__INIT;
	int status = only_target_options(p, argc, argv, 0);

	return status >= 0 ? status : one_call(p, "resume", "Resume", &q.base, NO_TIMEOUT_MS);
}

int cmd_exit(const struct cli_program *p, int argc, char **argv)
{
	SHIM(ExitRequest) q = CONTAINERD__SHIM__V1__EXIT_REQUEST__INIT;
	int status = only_target_options(p, argc, argv, 0);

	return status >= 0 ? status : one_call(p, "exit", "Exit", &q.base, CALL_TIMEOUT_MS);
}

int cmd_closeio(const struct cli_program *p, int argc, char **argv)
{
	SHIM(CloseIORequest) q = CONTAINERD__SHIM__V1__CLOSE_IOREQUEST__INIT;
	int status = only_target_options(p, argc, argv, 1);

	if (status >= 0)
		return status;
	if (optind < argc && !parse_pid(p, argv[optind], /* allow_init= */ true, &q.pid))
		return CLI_FAILED;
	return one_call(p, "closeio", "CloseIO", &q.base, CALL_TIMEOUT_MS);
}

static bool parse_cells(const char *s, uint32_t *ret)
{
	uint64_t v;

	if (size_parse_plain(s, &v) < 0 || v > UINT16_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

int cmd_pty(const struct cli_program *p, int argc, char **argv)
{
	SHIM(PtyRequest) q = CONTAINERD__SHIM__V1__PTY_REQUEST__INIT;
	int status = only_target_options(p, argc, argv, 3);

	if (status >= 0)
		return status;
	if (argc - optind != 3)
		return cli_usage_error(p, "pty takes PID WIDTH HEIGHT");
	if (!parse_pid(p, argv[optind], /* allow_init= */ false, &q.pid))
		return CLI_FAILED;
	if (!parse_cells(argv[optind + 1], &q.width) || !parse_cells(argv[optind + 2], &q.height))
		return cli_usage_error(p, "a size in cells is a number up to 65535");
	return one_call(p, "pty", "Pty", &q.base, CALL_TIMEOUT_MS);
}

/* ---- update ---- */

/* A byte size, or -1 for "no limit". */
static bool parse_limit(const char *s, int64_t *ret)
{
	uint64_t v;

	if (strcmp(s, "-1") == 0) {
		*ret = -1;
		return true;
	}
	if (size_parse(s, &v) < 0 || v > INT64_MAX)
		return false;
	*ret = (int64_t)v;
	return true;
}

enum {
	UPDATE_MEMORY = 1,
	UPDATE_RESERVATION,
	UPDATE_SWAP,
	UPDATE_SHARES,
	UPDATE_QUOTA,
	UPDATE_PERIOD,
	UPDATE_CPUS,
	UPDATE_MEMS,
	UPDATE_PIDS
};

static bool update_option(SHIM(UpdateRequest) * q, int opt)
{
	switch (opt) {
	case UPDATE_MEMORY:
		return parse_limit(optarg, &q->memory_limit_bytes);
	case UPDATE_RESERVATION:
		return parse_limit(optarg, &q->memory_reservation_bytes);
	case UPDATE_SWAP:
		return parse_limit(optarg, &q->memory_swap_bytes);
	case UPDATE_SHARES:
		return size_parse_plain(optarg, &q->cpu_shares) == 0;
	case UPDATE_QUOTA:
		return parse_limit(optarg, &q->cpu_quota_usec);
	case UPDATE_PERIOD:
		return size_parse_plain(optarg, &q->cpu_period_usec) == 0;
	case UPDATE_PIDS:
		return parse_limit(optarg, &q->pids_limit);
	case UPDATE_CPUS:
		q->cpuset_cpus = optarg;
		return true;
	case UPDATE_MEMS:
		q->cpuset_mems = optarg;
		return true;
	default:
		return target_option(opt);
	}
}

int cmd_update(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {
		{"memory", required_argument, NULL, UPDATE_MEMORY},
		{"memory-reservation", required_argument, NULL, UPDATE_RESERVATION},
		{"memory-swap", required_argument, NULL, UPDATE_SWAP},
		{"cpu-shares", required_argument, NULL, UPDATE_SHARES},
		{"cpu-quota", required_argument, NULL, UPDATE_QUOTA},
		{"cpu-period", required_argument, NULL, UPDATE_PERIOD},
		{"cpuset-cpus", required_argument, NULL, UPDATE_CPUS},
		{"cpuset-mems", required_argument, NULL, UPDATE_MEMS},
		{"pids-limit", required_argument, NULL, UPDATE_PIDS},
		TARGET_OPTIONS,
		{0}};
	SHIM(UpdateRequest) q = CONTAINERD__SHIM__V1__UPDATE_REQUEST__INIT;
	int opt, status;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		if (!update_option(&q, opt))
			return cli_usage_error(p, "update: \"%s\" is no such limit", optarg);
	}
	if (optind != argc)
		return cli_usage_error(p, "update takes options alone");
	return one_call(p, "update", "Update", &q.base, NO_TIMEOUT_MS);
}
