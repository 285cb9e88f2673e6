/* dist clean: forget every ingest that has been left alone for long, print its ref. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/tabs.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/root.h"
#include "store/ingest.h"
#include "store/leftovers.h"
#include "store/store_cleanup.h"

static int print_ref(void *arg, const struct ingest_status *st)
{
	cleanup_buf struct buf text;
	int r;

	(void)arg;
	buf_init(&text, 64 << 10);
	r = tabs_escape(st->ref, &text, NULL);
	if (r == 0)
		printf("%s\n", text.data);
	return r;
}

/* Leftovers have no ref to print. */
static int log_leftover(void *arg, const char *path)
{
	log_info("clean", "%s %s, a leftover", *(const bool *)arg ? "would remove" : "remove",
		 path);
	return 0;
}

static int log_ingest(void *arg, const char *name)
{
	char path[300];

	(void)snprintf(path, sizeof(path), "ingest/%s", name);
	return log_leftover(arg, path);
}

int cmd_clean(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"older-than", required_argument, NULL, 'o'},
					      {"dry-run", no_argument, NULL, 'n'},
					      {0}};
	cleanup(store_closep) struct store *s = NULL;
	const char *root = root_default();
	uint64_t age_ns = 24ULL * 3600 * 1000000000;
	bool dry_run = false;
	int64_t before_ns;
	int o, r, status;

	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'r')
			root = optarg;
		if (o == 'o' && clock_parse_duration(optarg, &age_ns) < 0)
			return cli_usage_error(p, "invalid age \"%.100s\": want e.g. 90m, 12h, 7d",
					       optarg);
		dry_run = dry_run || o == 'n';
	}
	if (optind < argc)
		return cli_usage_error(p, "clean takes no arguments; `dist abort` removes one ref");
	if (root_open(p, root, dry_run ? STORE_RDONLY : 0, &s) != CLI_OK)
		return CLI_FAILED;
	before_ns = clock_wall_ns();
	before_ns = age_ns > (uint64_t)before_ns ? 0 : before_ns - (int64_t)age_ns;
	r = ingest_expire(s, before_ns, dry_run, print_ref, NULL);
	if (r == 0)
		r = ingest_sweep(s, before_ns, dry_run, log_ingest, &dry_run);
	if (r == 0)
		r = leftovers_sweep(s, before_ns, dry_run, log_leftover, &dry_run);
	return r < 0 ? cli_fail(p, "clean", NULL, r) : CLI_OK;
}
