/* dist path: where blobs lie on the disk. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/json.h"
#include "dist/root.h"
#include "store/blob.h"
#include "store/store_cleanup.h"

static int add_json(json_t *all, const struct digest *d, const char *path, const struct stat *st)
{
	json_t *o = json_object();
	int r = json_out_digest(o, "digest", d);

	if (r == 0)
		r = json_out_text(o, "path", path);
	if (r == 0)
		r = json_out_size(o, "size", (uint64_t)st->st_size);
	if (r < 0) {
		json_decref(o);
		return r;
	}
	return json_array_append_new(all, o) < 0 ? -ENOMEM : 0;
}

static int show(struct store *s, const char *arg, bool quiet, json_t *all, struct err *err)
{
	char path[PATH_MAX];
	struct digest d;
	struct stat st;
	int r = digest_parse(arg, &d, err);

	if (r < 0)
		return r;
	r = blob_stat(s, &d, &st);
	if (r == -ENOENT)
		return err_set(err, ENOENT, "%s: blob not found", digest_text(&d).s);
	if (r == 0)
		r = blob_path(s, &d, path, sizeof(path));
	if (r == 0 && all != NULL)
		r = add_json(all, &d, path, &st);
	if (r < 0)
		return err_errno(err, -r, "%s", digest_text(&d).s);
	if (all == NULL && quiet)
		printf("%s\n", path);
	else if (all == NULL)
		printf("%s %s\n", digest_text(&d).s, path);
	return 0;
}

int cmd_path(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"quiet", no_argument, NULL, 'q'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	cleanup(store_closep) struct store *s = NULL;
	const char *root = root_default();
	bool quiet = false, json = false;
	json_t *all = NULL;
	int o, status;

	while ((o = cli_getopt(p, argc, argv, "q", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'r')
			root = optarg;
		quiet = quiet || o == 'q';
		json = json || o == 'j';
	}
	if (optind == argc)
		return cli_usage_error(p, "please specify a blob digest");
	if (root_open(p, root, STORE_RDONLY, &s) != CLI_OK)
		return CLI_FAILED;
	if (json && (all = json_array()) == NULL)
		return cli_fail(p, NULL, NULL, -ENOMEM);
	status = CLI_OK;
	for (int i = optind; i < argc; i++) {
		struct err err = {0};
		int r = show(s, argv[i], quiet, all, &err);

		if (r < 0)
			status = cli_fail(p, NULL, &err, r);
	}
	if (json && json_out_print(p, all) != CLI_OK)
		status = CLI_FAILED;
	return status;
}
