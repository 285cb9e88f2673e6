/* dist resolve: what an image name stands for at its registry, now. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/json.h"
#include "dist/remote.h"

static int print_json(const struct cli_program *p, const struct reference *name,
		      const struct registry_object *o)
{
	char text[REFERENCE_TEXT_MAX];
	json_t *out = json_object();
	int r;

	reference_format(name, text);
	r = json_out_text(out, "name", text);
	if (r == 0)
		r = json_out_digest(out, "digest", &o->digest);
	if (r == 0)
		r = json_out_text(out, "mediatype", o->mediatype);
	if (r == 0 && o->has_size)
		r = json_out_size(out, "size", o->size);
	if (r == 0)
		r = json_out_text(out, "host", o->host);
	if (r < 0) {
		json_decref(out);
		out = NULL;
	}
	return json_out_print(p, out);
}

static int resolve(const struct cli_program *p, const struct remote *re, const char *arg,
		   bool quiet, bool json)
{
	cleanup(registry_freep) struct registry *registry = NULL;
	struct registry_object o;
	struct reference name;
	struct err err = {0};
	int r = remote_name(arg, NULL, &name, &err);

	if (r < 0)
		return cli_fail(p, NULL, &err, r);
	if (remote_open(p, re, &registry) != CLI_OK)
		return CLI_FAILED;
	r = remote_resolve(re, registry, &name, &o, &err);
	if (r < 0) {
		(void)err_wrap(&err, r, "resolve %.200s", arg);
		return cli_fail(p, NULL, &err, r);
	}
	if (json)
		return print_json(p, &name, &o);
	if (quiet)
		printf("%s\n", digest_text(&o.digest).s);
	else
		printf("%s %s %" PRIu64 "\n", digest_text(&o.digest).s,
		       o.mediatype[0] != '\0' ? o.mediatype : "-", o.size);
	return CLI_OK;
}

int cmd_resolve(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {REMOTE_OPTIONS,
					      {"quiet", no_argument, NULL, 'q'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	bool quiet = false, json = false;
	struct remote re;
	int o, status;

	if (remote_init(p, &re) != CLI_OK)
		return CLI_FAILED;
	while ((o = cli_getopt(p, argc, argv, "q", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		quiet = quiet || o == 'q';
		json = json || o == 'j';
		if (remote_option(p, &re, o) != CLI_OK)
			return CLI_FAILED;
	}
	if (argc - optind != 1)
		return cli_usage_error(p, "please specify one image name");
	return resolve(p, &re, argv[optind], quiet, json);
}
