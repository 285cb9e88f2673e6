/* dist abort: forget ingests that nobody is writing. */
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/root.h"
#include "store/ingest.h"
#include "store/store_cleanup.h"

int cmd_abort(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'}, {0}};
	cleanup(store_closep) struct store *s = NULL;
	const char *root = root_default();
	int o, status;

	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		root = optarg;
	}
	if (optind == argc)
		return cli_usage_error(p, "please specify a ref");
	if (root_open(p, root, 0, &s) != CLI_OK)
		return CLI_FAILED;
	status = CLI_OK;
	for (int i = optind; i < argc; i++) {
		struct err err = {0};
		int r = ingest_remove(s, argv[i], &err);

		if (r < 0)
			status = cli_fail(p, "abort", &err, r);
	}
	return status;
}
