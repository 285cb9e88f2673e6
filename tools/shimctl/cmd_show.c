/* state ps stats: what is there. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/size.h"
#include "base/tabs.h"
#include "shimctl/shimctl.h"

enum { MAX_TABLE_BYTES = 16 << 20 };

/* Connect, one call, hang up; says what went wrong. NULL: it did. */
static ProtobufCMessage *ask(const struct cli_program *p, const char *what, const char *method,
			     const ProtobufCMessage *q, const ProtobufCMessageDescriptor *reply)
{
	struct rpc_client *c = NULL;
	ProtobufCMessage *m = NULL;
	struct err err = {0};
	int r = target_connect(&c, &err);

	if (r == 0)
		r = shim_call(c, method, q, reply, CALL_TIMEOUT_MS, &m, &err);
	(void)rpc_client_close(c);
	if (r < 0)
		(void)shim_fail(p, what, &err, r);
	return m;
}

static int print_tabs(const struct cli_program *p, struct tabs *t)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MAX_TABLE_BYTES);
	r = tabs_print(t, &b);
	if (r < 0)
		return cli_fail(p, "print", NULL, r);
	(void)fwrite(b.data, 1, b.len, stdout);
	return CLI_OK;
}

static int print_json(const struct cli_program *p, json_t *o)
{
	int r = o != NULL ? json_dumpf(o, stdout, JSON_INDENT(2)) : -1;

	json_decref(o);
	if (r < 0)
		return cli_fail(p, "print", NULL, -ENOMEM);
	(void)putchar('\n');
	return CLI_OK;
}

/* ---- state ---- */

static void print_string(const char *s)
{
	json_t *text = json_string(s);

	if (text != NULL)
		(void)json_dumpf(text, stdout, JSON_ENCODE_ANY);
	json_decref(text);
}

/*
 * As the reference prints it, for scripts of its time: a prefix of one space before each further
 * line, four spaces a level, fields that are zero left out, and no newline at the end - which a
 * terminal gets all the same.
 */
static int state_reference(const struct cli_program *p)
{
	SHIM(StateRequest) q = CONTAINERD__SHIM__V1__STATE_REQUEST__INIT;
	SHIM(StateResponse) *s = (SHIM(StateResponse) *)ask(p, "state", "State", &q.base,
							    SHIM_DESCRIPTOR(state_response));

	if (s == NULL)
		return CLI_FAILED;
	printf("{");
	if (s->id[0] != '\0') {
		printf("\n     \"id\": ");
		print_string(s->id);
	}
	if (s->n_processes > 0)
		printf("%s\n     \"processes\": [", s->id[0] != '\0' ? "," : "");
	for (size_t i = 0; i < s->n_processes; i++) {
		printf("%s\n         {\n             \"pid\": %" PRIu32, i > 0 ? "," : "",
		       s->processes[i]->pid);
		if (s->processes[i]->state != CONTAINERD__SHIM__V1__STATE__STOPPED)
			printf(",\n             \"state\": %d", (int)s->processes[i]->state);
		printf("\n         }");
	}
	if (s->n_processes > 0)
		printf("\n     ]");
	printf("%s}%s", s->id[0] != '\0' || s->n_processes > 0 ? "\n " : "",
	       isatty(STDOUT_FILENO) != 0 ? "\n" : "");
	protobuf_c_message_free_unpacked(&s->base, NULL);
	return CLI_OK;
}

static const char *phase_name(SHIM(Phase) phase)
{
	static const char *const names[] = {"none", "created", "running", "paused", "stopped"};

	return (unsigned int)phase < sizeof(names) / sizeof(names[0]) ? names[phase] : "unknown";
}

static void age_of(int64_t at_ns, char *out, size_t n)
{
	int64_t now_ns = clock_wall_ns();

	if (at_ns > 0)
		clock_format_age(at_ns < now_ns ? (uint64_t)(now_ns - at_ns) : 0, out, n);
	else
		(void)snprintf(out, n, "-");
}

static void add_row(struct tabs *t, const SHIM(InspectResponse) * a, const SHIM(ProcessInfo) * i)
{
	char pid[16], status[16] = "-", age[64] = "-";

	(void)snprintf(pid, sizeof(pid), "%" PRIu32, i->pid);
	if (i->exit != NULL && i->exit->lost)
		(void)snprintf(status, sizeof(status), "lost");
	else if (i->exit != NULL)
		(void)snprintf(status, sizeof(status), "%" PRIu32, i->exit->exit_status);
	if (i->exit != NULL)
		age_of(i->exit->exited_at_ns, age, sizeof(age));
	(void)tabs_cell(t, pid);
	(void)tabs_cell(t, i->init ? "init" : "exec");
	(void)tabs_cell(t, phase_name(i->init ? a->phase : i->phase));
	(void)tabs_cell(t, status);
	(void)tabs_cell(t, age);
	(void)tabs_cell(t, i->terminal ? "yes" : "no");
}

static int state_table(const struct cli_program *p, const SHIM(InspectResponse) * a)
{
	static const char *const heads[] = {"PID", "KIND", "STATE", "EXIT", "ENDED", "TTY"};
	struct tabs t;
	int status;

	printf("id       %s\nbundle   %s\nruntime  %s\nstate    %s\nshim     pid %" PRIu32
	       ", version %s\n\n",
	       a->id, a->bundle, a->runtime, phase_name(a->phase), a->shim_pid, a->shim_version);
	tabs_init(&t, 6);
	for (size_t i = 0; i < 6; i++)
		(void)tabs_cell(&t, heads[i]);
	for (size_t i = 0; i < a->n_processes; i++)
		add_row(&t, a, a->processes[i]);
	status = print_tabs(p, &t);
	tabs_done(&t);
	return status;
}

static json_t *process_json(const SHIM(ProcessInfo) * i)
{
	json_t *o =
		json_pack("{s:I, s:b, s:s, s:b, s:s, s:s, s:s}", "pid", (json_int_t)i->pid, "init",
			  i->init, "phase", phase_name(i->phase), "terminal", i->terminal, "stdin",
			  i->stdin, "stdout", i->stdout, "stderr", i->stderr);

	if (o != NULL && i->exit != NULL) {
		(void)json_object_set_new(o, "exit_status",
					  i->exit->lost ? json_null()
							: json_integer(i->exit->exit_status));
		(void)json_object_set_new(o, "lost", json_boolean(i->exit->lost));
		(void)json_object_set_new(o, "exited_at_ns",
					  json_integer((json_int_t)i->exit->exited_at_ns));
	}
	return o;
}

static int state_json(const struct cli_program *p, const SHIM(InspectResponse) * a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->n_processes; i++)
		(void)json_array_append_new(list, process_json(a->processes[i]));
	return print_json(p, json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:o}", "id", a->id, "bundle",
				       a->bundle, "runtime", a->runtime, "phase",
				       phase_name(a->phase), "shim_pid", (json_int_t)a->shim_pid,
				       "shim_version", a->shim_version, "processes", list));
}

int cmd_state(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"table", no_argument, NULL, 't'},
					      {"json", no_argument, NULL, 'j'},
					      TARGET_OPTIONS,
					      {0}};
	SHIM(InspectRequest) q = CONTAINERD__SHIM__V1__INSPECT_REQUEST__INIT;
	SHIM(InspectResponse) * a;
	int opt, status, how = 0;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		if (opt == 't' || opt == 'j')
			how = opt;
		else
			(void)target_option(opt);
	}
	if (optind != argc)
		return cli_usage_error(p, "state takes no arguments");
	if (how == 0)
		return state_reference(p);
	a = (SHIM(InspectResponse) *)ask(p, "state", "Inspect", &q.base,
					 SHIM_DESCRIPTOR(inspect_response));
	if (a == NULL)
		return CLI_FAILED;
	status = how == 't' ? state_table(p, a) : state_json(p, a);
	protobuf_c_message_free_unpacked(&a->base, NULL);
	return status;
}

/* ---- ps ---- */

/* The command line of pid, or its name in brackets; "?" when it has ended meanwhile. */
static void command_of(uint32_t pid, struct buf *b)
{
	char path[64];

	b->len = 0;
	(void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/cmdline", pid);
	if (fd_read_file(AT_FDCWD, path, b) == 0 && b->len > 0) {
		for (size_t i = 0; i + 1 < b->len; i++)
			if (b->data[i] == '\0')
				b->data[i] = ' ';
		return;
	}
	b->len = 0;
	(void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/comm", pid);
	if (fd_read_file(AT_FDCWD, path, b) < 0 || b->len == 0) {
		b->len = 0;
		(void)buf_puts(b, "?");
		return;
	}
	b->data[b->len - 1] = '\0'; /* the newline */
}

int cmd_ps(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {TARGET_OPTIONS, {0}};
	SHIM(ListPidsRequest) q = CONTAINERD__SHIM__V1__LIST_PIDS_REQUEST__INIT;
	SHIM(ListPidsResponse) * a;
	cleanup_buf struct buf command;
	struct tabs t;
	int opt, status;

	buf_init(&command, 128 << 10);
	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		(void)target_option(opt);
	}
	a = (SHIM(ListPidsResponse) *)ask(p, "ps", "ListPids", &q.base,
					  SHIM_DESCRIPTOR(list_pids_response));
	if (a == NULL)
		return CLI_FAILED;
	tabs_init(&t, 3);
	(void)tabs_cell(&t, "PID");
	(void)tabs_cell(&t, "KNOWN");
	(void)tabs_cell(&t, "COMMAND");
	for (size_t i = 0; i < a->n_pids; i++) {
		char pid[16];

		(void)snprintf(pid, sizeof(pid), "%" PRIu32, a->pids[i]->pid);
		command_of(a->pids[i]->pid, &command);
		(void)tabs_cell(&t, pid);
		(void)tabs_cell(&t, a->pids[i]->known ? "yes" : "no");
		(void)tabs_cell(&t, command.data);
	}
	status = print_tabs(p, &t);
	tabs_done(&t);
	protobuf_c_message_free_unpacked(&a->base, NULL);
	return status;
}

/* ---- stats ---- */

static void print_size(const char *name, uint64_t bytes)
{
	char text[32];

	size_format(bytes, text, sizeof(text));
	printf("%-22s %s\n", name, text);
}

static void print_limit(const char *name, uint64_t bytes)
{
	if (bytes == 0)
		printf("%-22s none\n", name);
	else
		print_size(name, bytes);
}

static void stats_text(const SHIM(StatsResponse) * s)
{
	if (s->cpu != NULL)
		printf("%-22s %.3f s (user %.3f, system %.3f)\n%-22s %" PRIu64 " of %" PRIu64
		       " periods, %.3f s\n",
		       "cpu", (double)s->cpu->usage_usec / 1e6, (double)s->cpu->user_usec / 1e6,
		       (double)s->cpu->system_usec / 1e6, "cpu throttled",
		       s->cpu->throttled_periods, s->cpu->periods,
		       (double)s->cpu->throttled_usec / 1e6);
	if (s->memory != NULL) {
		print_size("memory", s->memory->usage_bytes);
		print_size("memory working set", s->memory->working_set_bytes);
		if (s->memory->max_usage_bytes > 0)
			print_size("memory at most", s->memory->max_usage_bytes);
		print_limit("memory limit", s->memory->limit_bytes);
		print_size("swap", s->memory->swap_bytes);
		printf("%-22s %" PRIu64 "\n", "oom kills", s->memory->oom_kills);
	}
	if (s->pids != NULL && s->pids->limit > 0)
		printf("%-22s %" PRIu64 " of %" PRIu64 "\n", "pids", s->pids->current,
		       s->pids->limit);
	else if (s->pids != NULL)
		printf("%-22s %" PRIu64 "\n", "pids", s->pids->current);
	if (s->io != NULL) {
		print_size("read", s->io->read_bytes);
		print_size("written", s->io->write_bytes);
	}
}

/* Every number of a message by its field's name. */
static json_t *numbers_json(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	json_t *o = json_object();

	for (unsigned int i = 0; i < d->n_fields; i++) {
		const void *at = (const char *)m + d->fields[i].offset;
		const ProtobufCMessage *sub;

		if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
			sub = *(const ProtobufCMessage *const *)at;
			if (sub != NULL)
				(void)json_object_set_new(o, d->fields[i].name, numbers_json(sub));
		} else { /* uint64 and int64 alone */
			(void)json_object_set_new(o, d->fields[i].name,
						  json_integer(*(const json_int_t *)at));
		}
	}
	return o;
}

int cmd_stats(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {
		{"json", no_argument, NULL, 'j'}, TARGET_OPTIONS, {0}};
	SHIM(StatsRequest) q = CONTAINERD__SHIM__V1__STATS_REQUEST__INIT;
	ProtobufCMessage *m;
	bool json = false;
	int opt, status = CLI_OK;

	while ((opt = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (opt == CLI_STOP)
			return status;
		if (opt == 'j')
			json = true;
		else
			(void)target_option(opt);
	}
	m = ask(p, "stats", "Stats", &q.base, SHIM_DESCRIPTOR(stats_response));
	if (m == NULL)
		return CLI_FAILED;
	if (json)
		status = print_json(p, numbers_json(m));
	else
		stats_text((const SHIM(StatsResponse) *)(const void *)m);
	protobuf_c_message_free_unpacked(m, NULL);
	return json ? status : CLI_OK;
}
