#include "store/active_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "base/tabs.h"

void active_table_init(struct active_table *t, bool wide)
{
	*t = (struct active_table){.wide = wide};
}

void active_table_done(struct active_table *t)
{
	for (size_t i = 0; i < t->n_rows; i++) {
		free(t->rows[i].ref);
		free(t->rows[i].state);
	}
	free(t->rows);
	t->rows = NULL;
	t->n_rows = t->cap_rows = 0;
}

int active_table_add(struct active_table *t, const char *ref, uint64_t size, uint64_t total,
		     int64_t when_ns, const char *state)
{
	cleanup_free char *ref_copy = strdup(ref), *state_copy = strdup(state);

	if (ref_copy == NULL || state_copy == NULL)
		return -ENOMEM;
	if (t->n_rows == t->cap_rows) {
		size_t cap = t->cap_rows > 0 ? t->cap_rows * 2 : 16;
		struct active_row *rows = reallocarray(t->rows, cap, sizeof(*rows));

		if (rows == NULL)
			return -ENOMEM;
		t->rows = rows;
		t->cap_rows = cap;
	}
	t->rows[t->n_rows++] = (struct active_row){
		.ref = steal_ptr(ref_copy),
		.state = steal_ptr(state_copy),
		.size = size,
		.total = total,
		.when_ns = when_ns,
	};
	return 0;
}

void active_table_state(const struct ingest_status *st, char *out, size_t n)
{
	if (st->locked)
		(void)snprintf(out, n, "writing");
	else if (st->failed[0] != '\0')
		(void)snprintf(out, n, "failed: %s", st->failed);
	else
		(void)snprintf(out, n, "idle");
}

static bool has_ref(const struct active_table *t, const char *ref)
{
	for (size_t i = 0; i < t->n_given; i++)
		if (strcmp(t->rows[i].ref, ref) == 0)
			return true;
	return false;
}

static int add_status(void *arg, const struct ingest_status *st)
{
	struct active_table *t = arg;
	char state[sizeof(st->failed) + 16];

	if (has_ref(t, st->ref))
		return 0;
	active_table_state(st, state, sizeof(state));
	return active_table_add(t, st->ref, st->size, st->total, st->updated_ns, state);
}

int active_table_add_store(struct active_table *t, struct store *s)
{
	t->n_given = t->n_rows;
	return ingest_walk(s, add_status, t);
}

static int compare(const void *a, const void *b)
{
	const struct active_row *x = a, *y = b;

	return strcmp(x->ref, y->ref);
}

static int add_header(struct tabs *tabs, bool wide)
{
	static const char *const plain_names[] = {"REF", "SIZE", "AGE", NULL};
	static const char *const wide_names[] = {"REF", "SIZE", "TOTAL", "AGE", "STATE", NULL};
	int r = 0;

	for (const char *const *p = wide ? wide_names : plain_names; *p != NULL && r == 0; p++)
		r = tabs_cell(tabs, *p);
	return r;
}

static int add_row(struct tabs *tabs, const struct active_row *row, int64_t now, bool wide)
{
	char size[32], total[32] = "-", age[64];
	int r;

	size_format(row->size, size, sizeof(size));
	if (row->total > 0)
		size_format(row->total, total, sizeof(total));
	clock_format_age(now > row->when_ns ? (uint64_t)(now - row->when_ns) : 0, age, sizeof(age));
	r = tabs_cell(tabs, row->ref);
	if (r == 0)
		r = tabs_cell(tabs, size);
	if (r == 0 && wide)
		r = tabs_cell(tabs, total);
	if (r == 0)
		r = tabs_cell(tabs, age);
	if (r == 0 && wide)
		r = tabs_cell(tabs, row->state);
	return r;
}

int active_table_print(struct active_table *t, struct buf *out)
{
	int64_t now = clock_wall_ns();
	struct tabs tabs;
	int r;

	if (t->n_rows > 0)
		qsort(t->rows, t->n_rows, sizeof(*t->rows), compare);
	tabs_init(&tabs, t->wide ? 5 : 3);
	r = add_header(&tabs, t->wide);
	for (size_t i = 0; i < t->n_rows && r == 0; i++)
		r = add_row(&tabs, &t->rows[i], now, t->wide);
	if (r == 0)
		r = tabs_print(&tabs, out);
	tabs_done(&tabs);
	return r;
}

int active_table_render(struct store *s, bool wide, struct buf *out)
{
	struct active_table t;
	int r;

	active_table_init(&t, wide);
	r = active_table_add_store(&t, s);
	if (r == 0)
		r = active_table_print(&t, out);
	active_table_done(&t);
	return r;
}
