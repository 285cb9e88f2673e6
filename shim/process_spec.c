#include "shim/process_spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "shim/json.h"

/* What failed first stays: callers write on and look once. */
struct writer {
	struct buf *b;
	int r;
};

static void text(struct writer *w, const char *s)
{
	if (w->r == 0)
		w->r = buf_puts(w->b, s);
}

static void string(struct writer *w, const char *s)
{
	if (w->r == 0)
		w->r = json_add_string(w->b, s);
}

static void member(struct writer *w, const char *before, const char *key, const char *s)
{
	text(w, before);
	string(w, key);
	text(w, ":");
	string(w, s);
}

static void number(struct writer *w, const char *before, const char *key, int64_t v)
{
	if (w->r == 0)
		w->r = buf_printf(w->b, "%s\"%s\":%" PRId64, before, key, v);
}

static void strings(struct writer *w, char *const *list, size_t n)
{
	text(w, "[");
	for (size_t i = 0; i < n; i++) {
		text(w, i > 0 ? "," : "");
		string(w, list[i]);
	}
	text(w, "]");
}

static void user(struct writer *w, const SHIM(User) * u)
{
	number(w, ",\"user\":{", "uid", u != NULL ? u->uid : 0);
	number(w, ",", "gid", u != NULL ? u->gid : 0);
	if (u != NULL && u->n_additional_gids > 0) {
		text(w, ",\"additionalGids\":[");
		for (size_t i = 0; i < u->n_additional_gids && w->r == 0; i++)
			w->r = buf_printf(w->b, "%s%" PRIu32, i > 0 ? "," : "",
					  u->additional_gids[i]);
		text(w, "]");
	}
	text(w, "}");
}

static void capabilities(struct writer *w, const SHIM(ExecRequest) * q)
{
	static const char *const sets[] = {"bounding", "permitted", "effective"};

	if (q->n_capabilities == 0)
		return;
	text(w, ",\"capabilities\":{");
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		text(w, i > 0 ? "," : "");
		string(w, sets[i]);
		text(w, ":");
		strings(w, q->capabilities, q->n_capabilities);
	}
	text(w, "}");
}

static void rlimits(struct writer *w, const SHIM(ExecRequest) * q)
{
	if (q->n_rlimits == 0)
		return;
	text(w, ",\"rlimits\":[");
	for (size_t i = 0; i < q->n_rlimits; i++) {
		member(w, i > 0 ? ",{" : "{", "type", q->rlimits[i]->type);
		if (w->r == 0)
			w->r = buf_printf(w->b, ",\"hard\":%" PRIu64 ",\"soft\":%" PRIu64 "}",
					  q->rlimits[i]->hard, q->rlimits[i]->soft);
	}
	text(w, "]");
}

static int report(const struct writer *w, struct err *err)
{
	if (w->r == -EINVAL)
		return err_set(err, EINVAL, "a string of the request is no UTF-8");
	if (w->r == -E2BIG)
		return err_set(err, E2BIG, "the request is too large");
	return w->r < 0 ? err_set(err, -w->r, "out of memory") : 0;
}

int process_spec_write(const SHIM(ExecRequest) * q, struct buf *b, struct err *err)
{
	struct writer w = {b, 0};
	const char *cwd = q->cwd[0] != '\0' ? q->cwd : "/";

	if (q->n_args == 0 || q->args[0][0] == '\0')
		return err_set(err, EINVAL, "exec needs the arguments of a process");
	if (cwd[0] != '/')
		return err_set(err, EINVAL, "the working directory %s is not absolute", cwd);
	text(&w, q->terminal ? "{\"terminal\":true" : "{\"terminal\":false");
	user(&w, q->user);
	text(&w, ",\"args\":");
	strings(&w, q->args, q->n_args);
	text(&w, ",\"env\":");
	strings(&w, q->env, q->n_env);
	member(&w, ",", "cwd", cwd);
	capabilities(&w, q);
	rlimits(&w, q);
	text(&w, q->no_new_privileges ? ",\"noNewPrivileges\":true" : "");
	if (q->apparmor_profile[0] != '\0')
		member(&w, ",", "apparmorProfile", q->apparmor_profile);
	if (q->selinux_label[0] != '\0')
		member(&w, ",", "selinuxLabel", q->selinux_label);
	text(&w, "}");
	return report(&w, err);
}

/* Members of an object that are not zero; its key goes in front of the first. */
struct object {
	struct writer *w;
	const char *key;
	bool any;
};

static void object_begin(struct object *o)
{
	text(o->w, o->any ? "," : (o->w->b->len > 1 ? ",\"" : "\""));
	if (!o->any) {
		text(o->w, o->key);
		text(o->w, "\":{");
	}
	o->any = true;
}

static void limit(struct object *o, const char *key, int64_t v)
{
	if (v == 0)
		return;
	object_begin(o);
	number(o->w, "", key, v);
}

static void list(struct object *o, const char *key, const char *v)
{
	if (v[0] == '\0')
		return;
	object_begin(o);
	member(o->w, "", key, v);
}

static void object_end(struct object *o)
{
	text(o->w, o->any ? "}" : "");
}

int resources_write(const SHIM(UpdateRequest) * q, struct buf *b, struct err *err)
{
	struct writer w = {b, 0};
	struct object memory = {&w, "memory", false}, cpu = {&w, "cpu", false},
		      pids = {&w, "pids", false};

	text(&w, "{");
	limit(&memory, "limit", q->memory_limit_bytes);
	limit(&memory, "reservation", q->memory_reservation_bytes);
	limit(&memory, "swap", q->memory_swap_bytes);
	object_end(&memory);
	limit(&cpu, "shares", (int64_t)q->cpu_shares);
	limit(&cpu, "quota", q->cpu_quota_usec);
	limit(&cpu, "period", (int64_t)q->cpu_period_usec);
	list(&cpu, "cpus", q->cpuset_cpus);
	list(&cpu, "mems", q->cpuset_mems);
	object_end(&cpu);
	limit(&pids, "limit", q->pids_limit);
	object_end(&pids);
	text(&w, "}");
	if (w.r == 0 && !memory.any && !cpu.any && !pids.any)
		return err_set(err, EINVAL, "there is nothing to update");
	return report(&w, err);
}
