/* dist active: what is on its way. Arguments and --timeout are accepted and ignored. */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/json.h"
#include "dist/root.h"
#include "store/active_table.h"
#include "store/ingest.h"
#include "store/store_cleanup.h"

#define MAX_TABLE_BYTES ((size_t)1 << 30)

static int add_json(void *arg, const struct ingest_status *st)
{
	char state[sizeof(st->failed) + 16];
	json_t *o = json_object();
	int r;

	active_table_state(st, state, sizeof(state));
	r = json_out_text(o, "ref", st->ref);
	if (r == 0)
		r = json_out_size(o, "size", st->size);
	if (r == 0 && st->total > 0)
		r = json_out_size(o, "total", st->total);
	if (r == 0 && st->has_expected)
		r = json_out_digest(o, "expected", &st->expected);
	if (r == 0)
		r = json_out_time(o, "started_at", st->started_ns);
	if (r == 0)
		r = json_out_time(o, "updated_at", st->updated_ns);
	if (r == 0)
		r = json_out_text(o, "state",
				  st->locked		  ? "writing"
				  : st->failed[0] != '\0' ? "failed"
							  : "idle");
	if (r == 0 && st->failed[0] != '\0')
		r = json_out_text(o, "failed", st->failed);
	if (r < 0) {
		json_decref(o);
		return r;
	}
	return json_array_append_new(arg, o) < 0 ? -ENOMEM : 0;
}

static int print_json(const struct cli_program *p, struct store *s)
{
	json_t *all = json_array();
	int r = all == NULL ? -ENOMEM : ingest_walk(s, add_json, all);

	if (r < 0) {
		json_decref(all);
		return cli_fail(p, "active", NULL, r);
	}
	return json_out_print(p, all);
}

int cmd_active(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"wide", no_argument, NULL, 'w'},
					      {"json", no_argument, NULL, 'j'},
					      {"timeout", required_argument, NULL, 't'},
					      {0}};
	cleanup(store_closep) struct store *s = NULL;
	cleanup_buf struct buf out;
	const char *root = root_default();
	bool wide = false, json = false;
	int o, r, status;

	buf_init(&out, MAX_TABLE_BYTES);
	while ((o = cli_getopt(p, argc, argv, "t:", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'r')
			root = optarg;
		wide = wide || o == 'w';
		json = json || o == 'j';
	}
	if (root_open(p, root, STORE_RDONLY, &s) != CLI_OK)
		return CLI_FAILED;
	if (json)
		return print_json(p, s);
	r = active_table_render(s, wide, &out);
	if (r < 0)
		return cli_fail(p, "active", NULL, r);
	(void)fwrite(out.data, 1, out.len, stdout);
	return CLI_OK;
}
