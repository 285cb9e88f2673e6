/* events wait: what happens, when it happens. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "shimctl/shimctl.h"

/* ---- events ---- */

struct watch {
	bool json, timed;
	bool done;
	enum rpc_status status;
	struct err err;
	int output_error; /* negative errno */
};

static const char *event_name(SHIM(EventType) type)
{
	static const char *const names[] = {"EXIT",	  "OOM",    "CREATED", "STARTED",
					    "EXEC_ADDED", "PAUSED", "RESUMED"};

	return (unsigned int)type < sizeof(names) / sizeof(names[0]) ? names[type] : "UNKNOWN";
}

static void print_line(const SHIM(WatchEvent) * w)
{
	const SHIM(Event) *e = w->event;

	printf("type=%s id=%s pid=%" PRIu32 " status=%" PRIu32 "%s\n", event_name(e->type), e->id,
	       e->pid, e->exit_status, w->lost ? " lost=true" : "");
}

static void print_json(const SHIM(WatchEvent) * w)
{
	const SHIM(Event) *e = w->event;
	char at[64];
	json_t *o;

	clock_format_rfc3339(w->at_ns, at, sizeof(at));
	o = json_pack("{s:I, s:s, s:s, s:s, s:I}", "number", (json_int_t)w->number, "time", at,
		      "type", event_name(e->type), "id", e->id, "pid", (json_int_t)e->pid);
	if (o == NULL)
		return;
	if (e->type == CONTAINERD__SHIM__V1__EVENT_TYPE__EXIT && !w->lost)
		(void)json_object_set_new(o, "exit_status", json_integer(e->exit_status));
	if (e->type == CONTAINERD__SHIM__V1__EVENT_TYPE__EXIT)
		(void)json_object_set_new(o, "lost", json_boolean(w->lost));
	(void)json_dumpf(o, stdout, JSON_COMPACT);
	(void)putchar('\n');
	json_decref(o);
}

static void on_event(struct rpc_client_call *call, const ProtobufCMessage *m, void *data)
{
	const SHIM(WatchEvent) *event = (const void *)m;
	struct watch *w = data;

	(void)call;
	if (event->event == NULL)
		return;
	if (w->json)
		print_json(event);
	else
		print_line(event);
	if (fflush(stdout) != 0)
		w->output_error = -errno;
}

static void on_events_done(struct rpc_client_call *call, enum rpc_status status, const char *text,
			   void *data)
{
	struct watch *w = data;
	int r = rpc_status_to_errno(status);

	(void)call;
	w->done = true;
	w->status = status;
	if (r < 0)
		(void)err_set(&w->err, -r, "%s", text);
	w->err.detail = (int)status;
}

static int watch(const struct cli_program *p, struct rpc_client *c, struct watch *w, uint64_t after)
{
	static const struct rpc_client_ops ops = {.message = on_event, .done = on_events_done};
	SHIM(WatchRequest) q = CONTAINERD__SHIM__V1__WATCH_REQUEST__INIT;
	int r;

	q.after = after;
	r = rpc_client_start(c, "/containerd.shim.v1.Shim/Watch", &q.base,
			     SHIM_DESCRIPTOR(watch_event), NO_TIMEOUT_MS, &ops, w, NULL);
	if (r < 0)
		return shim_fail(p, "events", NULL, r);
	while (!w->done && w->output_error == 0) {
		struct pollfd fds[] = {{rpc_client_fd(c), rpc_client_events(c), 0},
				       {1, 0, 0}}; /* whoever reads us may leave */

		(void)poll(fds, 2, rpc_client_timeout_ms(c));
		rpc_client_process(c);
		if ((fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
			w->output_error = -EPIPE;
	}
	if (w->output_error < 0)
		return cli_fail(p, "events", NULL, w->output_error);
	return w->status == RPC_OK ? CLI_OK : shim_fail(p, "events", &w->err, -w->err.code);
}

int cmd_events(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
					      {"after", required_argument, NULL, 'A'},
					      TARGET_OPTIONS,
					      {0}};
	struct rpc_client *c = NULL;
	struct watch w = {0};
	struct err err = {0};
	uint64_t after = 0;
	int opt, status, r;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		if (opt == 'j')
			w.json = true;
		else if (opt == 'A' && size_parse_plain(optarg, &after) < 0)
			return cli_usage_error(p, "--after takes the number of an event");
		else
			(void)target_option(opt);
	}
	if (optind != argc)
		return cli_usage_error(p, "events takes no arguments");
	r = target_connect(&c, &err);
	if (r < 0)
		return shim_fail(p, NULL, &err, r);
	status = watch(p, c, &w, after);
	(void)rpc_client_close(c);
	return status;
}

/* ---- wait ---- */

int cmd_wait(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {TARGET_OPTIONS, {0}};
	SHIM(WaitRequest) q = CONTAINERD__SHIM__V1__WAIT_REQUEST__INIT;
	struct rpc_client *c = NULL;
	ProtobufCMessage *m = NULL;
	SHIM(WaitResponse) * a;
	struct err err = {0};
	int opt, status, r;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		(void)target_option(opt);
	}
	if (argc - optind > 1)
		return cli_usage_error(p, "wait takes one pid, or none for init");
	if (optind < argc && !parse_pid(p, argv[optind], /* allow_init= */ true, &q.pid))
		return CLI_FAILED;
	r = target_connect(&c, &err);
	if (r == 0)
		r = shim_call(c, "Wait", &q.base, SHIM_DESCRIPTOR(wait_response), NO_TIMEOUT_MS, &m,
			      &err);
	(void)rpc_client_close(c);
	if (m == NULL)
		return shim_fail(p, "wait", &err, r);
	a = (SHIM(WaitResponse) *)m;
	if (a->lost)
		r = cli_usage_error(p, "the exit status is lost");
	else
		printf("%" PRIu32 "\n", a->exit_status);
	protobuf_c_message_free_unpacked(m, NULL);
	return r < 0 ? CLI_FAILED : r;
}
