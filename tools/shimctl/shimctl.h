/*
 * The commands of shimctl, grouped: cmd_life.c (create start delete exec), cmd_control.c (kill
 * pause resume pty closeio update exit), cmd_show.c (state ps stats), cmd_watch.c (events wait),
 * cmd_attach.c (attach), cmd_run.c (run); main.c has the table.
 *
 * Exit status: that of the command line tools here (cli.h); a command that attached to a process
 * and saw its end exits with the status of that process.
 */
#ifndef SHIMCTL_SHIMCTL_H
#define SHIMCTL_SHIMCTL_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "rpc/client.h"
#include "shim_pb/shim.pb-c.h"

/* SHIM(StateRequest) is the generated type. */
#define SHIM(name) Containerd__Shim__V1__##name
#define SHIM_DESCRIPTOR(name) (&containerd__shim__v1__##name##__descriptor)

enum {
	CALL_TIMEOUT_MS = 100 * 1000, /* of a call that the shim answers by itself */
	/*
	 * Of one that runs the runtime, and of one that waits for a process: none. How long a run
	 * may take is told to the shim (--runtime-timeout), which gives up and says so; we would
	 * only not hear what has become of it.
	 */
	NO_TIMEOUT_MS = 0,
};

/* --socket and --dir, also in front of the command. */
struct target {
	const char *socket; /* path; NULL: shim.sock in dir */
	const char *dir;    /* NULL: the working directory */
};
extern struct target target;

/* For a command's list of long options, and what to do with their values. */
enum { OPT_SOCKET = 1000, OPT_DIR };
#define TARGET_OPTIONS                                   \
	{"socket", required_argument, NULL, OPT_SOCKET}, \
	{                                                \
		"dir", required_argument, NULL, OPT_DIR  \
	}
#define TARGET_HELP                                                              \
	"  --socket PATH      the shim's socket (default: shim.sock in --dir)\n" \
	"  --dir DIR          the shim's working directory (default: here)\n"
bool target_option(int o);

/* Connect to the target. Returns 0, or fails as rpc_client_connect(). */
int target_connect(struct rpc_client **ret, struct err *err);

/* rpc_client_call() of one of the shim's methods ("State"); ret may be NULL. */
int shim_call(struct rpc_client *c, const char *method, const ProtobufCMessage *request,
	      const ProtobufCMessageDescriptor *reply, uint64_t timeout_ms, ProtobufCMessage **ret,
	      struct err *err);
/* The same for an answer that says nothing. */
int shim_call_empty(struct rpc_client *c, const char *method, const ProtobufCMessage *request,
		    uint64_t timeout_ms, struct err *err);

/* "shimctl: what: why (STATUS)" on stderr; CLI_FAILED. */
int shim_fail(const struct cli_program *p, const char *what, const struct err *err, int r);

/* A pid: decimal, all of s; 0 only where allow_init. On failure says so and returns false. */
bool parse_pid(const struct cli_program *p, const char *s, bool allow_init, uint32_t *ret);

int cmd_create(const struct cli_program *p, int argc, char **argv);
int cmd_start(const struct cli_program *p, int argc, char **argv);
int cmd_delete(const struct cli_program *p, int argc, char **argv);
int cmd_exec(const struct cli_program *p, int argc, char **argv);
int cmd_kill(const struct cli_program *p, int argc, char **argv);
int cmd_pause(const struct cli_program *p, int argc, char **argv);
int cmd_resume(const struct cli_program *p, int argc, char **argv);
int cmd_pty(const struct cli_program *p, int argc, char **argv);
int cmd_closeio(const struct cli_program *p, int argc, char **argv);
int cmd_update(const struct cli_program *p, int argc, char **argv);
int cmd_exit(const struct cli_program *p, int argc, char **argv);
int cmd_state(const struct cli_program *p, int argc, char **argv);
int cmd_ps(const struct cli_program *p, int argc, char **argv);
int cmd_stats(const struct cli_program *p, int argc, char **argv);
int cmd_events(const struct cli_program *p, int argc, char **argv);
int cmd_wait(const struct cli_program *p, int argc, char **argv);
int cmd_attach(const struct cli_program *p, int argc, char **argv);
int cmd_run(const struct cli_program *p, int argc, char **argv);

#endif
