/*
 * dist pull: an image from its registry into the store, with everything it needs.
 *
 *   name -> registry: digest -> fill: manifest(s) -> objects -> fill: layers, configs, in parallel
 *        -> image_index: the name
 *
 * What the store has is not asked for. Fills are shared with every process that works on the
 * store: what a mount is at is waited for, not fetched twice.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/json.h"
#include "dist/objects.h"
#include "dist/remote.h"
#include "dist/root.h"
#include "dist/transfers.h"
#include "fill/fill.h"
#include "store/blob.h"
#include "store/image_index.h"
#include "store/store_cleanup.h"

CLEANUP_DEFINE(struct fill *, fill_free);

struct pull {
	const struct cli_program *program;
	const struct remote *remote;
	struct store *store;
	struct registry *registry;
	struct fill *fill;
	struct reference name;
	char source[REFERENCE_NAME_MAX + 1]; /* "host/repository" */
	struct descriptor top;
	struct objects objects;
	struct bars bars;
	unsigned int parallel;
	bool json;

	uint64_t n_fetched; /* bytes that were not here before; by __atomic */
};

/* objects_question.have: a manifest, before it is read. */
static int have_manifest(void *arg, const struct descriptor *d, struct err *err)
{
	struct pull *p = arg;
	struct fill_object o = remote_fill_object(d, p->source);
	bool present = blob_exists(p->store, &d->digest);
	struct stat st;
	int r;

	if (!present) {
		r = fill_get(p->fill, &o, remote_time_left(p->remote), NULL, NULL, err);
		if (r < 0)
			return r;
		if (blob_stat(p->store, &d->digest, &st) == 0)
			p->n_fetched += (uint64_t)st.st_size;
	}
	if (!p->json)
		bars_say(&p->bars, "%s manifest %s", digest_text(&d->digest).s,
			 present ? "is here" : "fetched");
	return 0;
}

static int on_progress(void *arg, uint64_t here, uint64_t total)
{
	(void)total;
	return transfer_progress(arg, here);
}

/* transfers.move: a layer or config. */
static int fetch_blob(void *arg, const struct descriptor *d, struct transfer *x,
		      const char **ret_how, struct err *err)
{
	struct pull *p = arg;
	struct fill_object o = remote_fill_object(d, p->source);
	int r;

	*ret_how = "is here";
	if (blob_exists(p->store, &d->digest)) {
		blob_used(p->store, &d->digest);
		return 0;
	}
	*ret_how = "fetched";
	r = fill_get(p->fill, &o, remote_time_left(p->remote), on_progress, x, err);
	if (r == 0)
		(void)__atomic_add_fetch(&p->n_fetched, d->size, __ATOMIC_RELAXED);
	return r;
}

/* What the name stands for: itself where it has a digest, else the registry is asked. */
static int resolve(struct pull *p, struct err *err)
{
	struct registry_object o;
	int r;

	if (p->name.has_digest) {
		p->top.digest = p->name.digest;
		return 0;
	}
	r = remote_resolve(p->remote, p->registry, &p->name, &o, err);
	if (r < 0)
		return r;
	p->top.digest = o.digest;
	p->top.size = o.has_size ? o.size : 0;
	(void)snprintf(p->top.mediatype, sizeof(p->top.mediatype), "%s", o.mediatype);
	return 0;
}

/* The top manifest is the last of the objects, with the size and type that it turned out to have.
 */
static int set_name(struct pull *p, struct err *err)
{
	char name[REFERENCE_TEXT_MAX];
	struct image_entry e = {.digest = p->top.digest, .size = p->top.size};

	reference_format(&p->name, name);
	if ((size_t)snprintf(e.name, sizeof(e.name), "%s", name) >= sizeof(e.name))
		return err_set(err, ENAMETOOLONG, "the name is too long for index.json");
	(void)snprintf(e.mediatype, sizeof(e.mediatype), "%s", p->top.mediatype);
	return image_index_set(p->store, &e, err);
}

static int pull(struct pull *p, const struct platform *want, struct err *err)
{
	struct objects_question q = {
		.store = p->store, .want = want, .have = have_manifest, .arg = p};
	struct transfers t = {.objects = &p->objects,
			      .parallel = p->parallel,
			      .quiet = p->json,
			      .bars = &p->bars,
			      .move = fetch_blob,
			      .arg = p};
	int r = resolve(p, err);

	if (r == 0)
		r = objects_collect(&q, &p->top, &p->objects, err);
	if (r < 0)
		return r;
	p->top = p->objects.v[p->objects.n - 1].d;
	r = transfers_run(&t, err);
	return r == 0 ? set_name(p, err) : r;
}

static int add_object(json_t *list, const struct object *o)
{
	json_t *out = json_object();
	int r = json_out_text(out, "kind", object_kind_name(o->kind));

	if (r == 0)
		r = json_out_digest(out, "digest", &o->d.digest);
	if (r == 0)
		r = json_out_text(out, "mediatype", o->d.mediatype);
	if (r == 0)
		r = json_out_size(out, "size", o->d.size);
	if (r == 0)
		return json_array_append_new(list, out) < 0 ? -ENOMEM : 0;
	json_decref(out);
	return r;
}

static int print_json(const struct pull *p)
{
	char name[REFERENCE_TEXT_MAX], platform[PLATFORM_TEXT_MAX];
	json_t *out = json_object(), *list = json_array();
	int r;

	reference_format(&p->name, name);
	platform_format(&p->objects.platform, platform);
	r = json_out_text(out, "name", name);
	if (r == 0)
		r = json_out_digest(out, "digest", &p->top.digest);
	if (r == 0)
		r = json_out_text(out, "mediatype", p->top.mediatype);
	if (r == 0 && p->objects.platform.os[0] != '\0')
		r = json_out_text(out, "platform", platform);
	if (r == 0)
		r = json_out_size(out, "fetched_bytes", p->n_fetched);
	for (size_t i = 0; i < p->objects.n && r == 0; i++)
		r = add_object(list, &p->objects.v[i]);
	if (r == 0)
		r = json_object_set(out, "objects", list) < 0 ? -ENOMEM : 0;
	json_decref(list);
	if (r < 0) {
		json_decref(out);
		out = NULL;
	}
	return json_out_print(p->program, out);
}

static int pull_and_tell(struct pull *p, const struct platform *want)
{
	char name[REFERENCE_TEXT_MAX];
	struct err err = {0};
	int r;

	bars_init(&p->bars);
	reference_format_name(&p->name, p->source);
	r = pull(p, want, &err);
	bars_done(&p->bars);
	if (r < 0) {
		reference_format(&p->name, name);
		(void)err_wrap(&err, r, "pull %.200s", name);
		return cli_fail(p->program, NULL, &err, r);
	}
	if (p->json)
		return print_json(p);
	printf("%s\n", digest_text(&p->top.digest).s);
	return CLI_OK;
}

static int open_all(struct pull *p, const char *root)
{
	struct fill_config config = {0};
	struct err err = {0};
	int r;

	if (root_open(p->program, root, STORE_CREATE, &p->store) != CLI_OK ||
	    remote_open(p->program, p->remote, &p->registry) != CLI_OK)
		return CLI_FAILED;
	config.store = p->store;
	config.registry = p->registry;
	r = fill_new(&config, &p->fill, &err);
	return r < 0 ? cli_fail(p->program, NULL, &err, r) : CLI_OK;
}

struct pull_options {
	const char *root;
	struct remote remote;
	bool all_platforms, json;
	struct platform platform;
	unsigned int parallel;
};

static int run_pull(const struct cli_program *p, const struct pull_options *opt,
		    const struct reference *name)
{
	struct pull pull = {
		.program = p,
		.remote = &opt->remote,
		.name = *name,
		.parallel = opt->parallel,
		.json = opt->json,
	};
	int status;

	status = open_all(&pull, opt->root);
	if (status == CLI_OK)
		status = pull_and_tell(&pull, opt->all_platforms ? NULL : &opt->platform);
	objects_done(&pull.objects);
	fill_free(pull.fill);
	registry_free(pull.registry);
	store_close(pull.store);
	return status;
}

static int take_option(const struct cli_program *p, struct pull_options *opt, int o)
{
	struct err err = {0};
	uint64_t n;
	int r;

	switch (o) {
	case 'r':
		opt->root = optarg;
		return CLI_OK;
	case 'P':
		r = platform_parse(optarg, &opt->platform, &err);
		return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
	case 'a':
		opt->all_platforms = true;
		return CLI_OK;
	case 'j':
		opt->json = true;
		return CLI_OK;
	case 'n':
		if (size_parse_plain(optarg, &n) < 0 || n < 1 || n > TRANSFERS_MAX)
			return cli_usage_error(p, "--parallel: want 1 to %d", TRANSFERS_MAX);
		opt->parallel = (unsigned int)n;
		return CLI_OK;
	default:
		return remote_option(p, &opt->remote, o);
	}
}

int cmd_pull(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {REMOTE_OPTIONS,
					      {"root", required_argument, NULL, 'r'},
					      {"platform", required_argument, NULL, 'P'},
					      {"all-platforms", no_argument, NULL, 'a'},
					      {"parallel", required_argument, NULL, 'n'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	struct pull_options opt = {.root = root_default(), .parallel = TRANSFERS_PARALLEL};
	struct reference name;
	struct err err = {0};
	int o, r, status;

	if (remote_init(p, &opt.remote) != CLI_OK)
		return CLI_FAILED;
	platform_host(&opt.platform);
	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (take_option(p, &opt, o) != CLI_OK)
			return CLI_FAILED;
	}
	argc -= optind;
	argv += optind;
	if (argc < 1 || argc > 2)
		return cli_usage_error(p, "want LOCATOR [TAG|DIGEST]; options go before them");
	r = remote_name(argv[0], argc == 2 ? argv[1] : NULL, &name, &err);
	return r < 0 ? cli_fail(p, NULL, &err, r) : run_pull(p, &opt, &name);
}
