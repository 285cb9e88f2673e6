/* dist unpack: an image, of the store or fetched meanwhile, becomes a root filesystem. */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/size.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/image_source.h"
#include "dist/image_unpack.h"
#include "dist/json.h"

struct unpack_command {
	const char *image, *dir;
	struct image_source_options from;
	struct unpack_options options;
	json_t *json; /* array, or NULL: lines */
	bool failed;  /* out of memory while printing */
};

static int add_json(json_t *all, const struct unpacked_layer *l)
{
	json_t *o = json_object();
	int r = json_out_digest(o, "digest", &l->descriptor->digest);

	if (r == 0)
		r = json_out_digest(o, "diff_id", &l->result.diff_id);
	if (r == 0)
		r = json_out_digest(o, "chain_id", &l->chain_id);
	if (r == 0)
		r = json_out_size(o, "size", l->result.size);
	if (r == 0)
		r = json_out_size(o, "diff_size", l->result.diff_size);
	if (r == 0)
		r = json_out_size(o, "entries", l->result.n_entries);
	if (r < 0) {
		json_decref(o);
		return r;
	}
	return json_array_append_new(all, o) < 0 ? -ENOMEM : 0;
}

/* The ChainIDs are the answer: the last one names the whole root filesystem. */
static void print_layer(void *arg, const struct unpacked_layer *l)
{
	struct unpack_command *c = arg;

	if (c->json == NULL)
		printf("%s\n", digest_text(&l->chain_id).s);
	else if (add_json(c->json, l) < 0)
		c->failed = true;
}

static void warn(void *arg, const char *text)
{
	(void)arg;
	log_warn("unpack", "%s", text);
}

static int unpack(struct unpack_command *c, struct err *err)
{
	struct image_source s;
	struct image_unpack u = {.image = &s.image,
				 .source = &s.source,
				 .options = c->options,
				 .done = print_layer,
				 .arg = c};
	cleanup_fd int root_fd = -1;
	bool made = false;
	int r = image_source_open(&c->from, c->image, &s, err);

	if (r < 0)
		return r;
	image_source_hold(&s);
	r = root_fd = unpack_dir_open(c->dir, 0755, &made, err);
	if (r >= 0) {
		r = image_unpack(&u, root_fd, err);
		if (r == 0)
			r = image_source_finish(&s, err);
		if (r == 0 && c->failed)
			r = err_set(err, ENOMEM, "out of memory");
		if (r < 0)
			unpack_dir_undo(c->dir, made);
	}
	image_source_close(&s);
	return r;
}

static int run(const struct cli_program *p, struct unpack_command *c)
{
	struct err err = {0};
	int r = unpack(c, &err);

	if (r < 0)
		return cli_fail(p, c->image, &err, r);
	return c->json != NULL ? json_out_print(p, json_incref(c->json)) : CLI_OK;
}

int cmd_unpack(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {IMAGE_SOURCE_OPTIONS,
					      {"rootless", no_argument, NULL, 'l'},
					      {"max-size", required_argument, NULL, 'm'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	struct unpack_command c = {.options = {.warn = warn}};
	bool json = false;
	int o, status;

	if (image_source_options_init(p, &c.from) != CLI_OK)
		return CLI_FAILED;
	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (image_source_option(p, &c.from, o) != CLI_OK)
			return CLI_FAILED;
		if (o == 'm' && size_parse(optarg, &c.options.max_bytes) < 0)
			return cli_usage_error(p, "invalid --max-size \"%s\"", optarg);
		c.options.rootless = c.options.rootless || o == 'l';
		json = json || o == 'j';
	}
	if (argc - optind != 2)
		return cli_usage_error(p, "please specify an image and a directory");
	c.image = argv[optind];
	c.dir = argv[optind + 1];
	if (json && (c.json = json_array()) == NULL)
		return cli_fail(p, NULL, NULL, -ENOMEM);
	status = run(p, &c);
	json_decref(c.json);
	return status;
}
