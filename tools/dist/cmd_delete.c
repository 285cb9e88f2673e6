/* dist delete: remove blobs. One that is not there is as good as removed. */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/root.h"
#include "store/blob.h"
#include "store/store_cleanup.h"

static int delete_blob(struct store *s, const char *arg, struct err *err)
{
	struct digest d;
	int r = digest_parse(arg, &d, err);

	if (r < 0)
		return r;
	r = blob_delete(s, &d);
	if (r < 0 && r != -ENOENT)
		return err_errno(err, -r, "%s", digest_text(&d).s);
	printf("%s\n", digest_text(&d).s);
	return 0;
}

int cmd_delete(const struct cli_program *p, int argc, char **argv)
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
	/* `dist list -q | xargs dist delete` on an empty store */
	if (optind == argc)
		return CLI_OK;
	if (root_open(p, root, 0, &s) != CLI_OK)
		return CLI_FAILED;
	status = CLI_OK;
	for (int i = optind; i < argc; i++) {
		struct err err = {0};
		int r = delete_blob(s, argv[i], &err);

		if (r < 0)
			status = cli_fail(p, NULL, &err, r);
	}
	return status;
}
