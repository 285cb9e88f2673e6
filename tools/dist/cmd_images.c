/* dist images, tag, untag: the names that stand for images of the store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "base/tabs.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/image.h"
#include "dist/json.h"
#include "dist/root.h"
#include "oci/reference.h"
#include "store/blob.h"
#include "store/store_cleanup.h"

#define MAX_TABLE_BYTES ((size_t)256 << 20)

struct listing {
	struct store *store;
	struct platform platform;
	json_t *json; /* NULL: a table, or names alone */
	bool quiet;
	struct tabs tabs;
};

/* Of config and layers; false when the manifest is not here or is none. */
static bool weigh(struct listing *l, const struct image_entry *e, struct image_weight *ret)
{
	struct image im;

	if (image_open(l->store, digest_text(&e->digest).s, &l->platform, &im, NULL) < 0)
		return false;
	if (im.manifest == NULL) {
		image_close(&im);
		return false;
	}
	*ret = image_weigh(l->store, im.manifest);
	image_close(&im);
	return true;
}

static int add_row(struct listing *l, const struct image_entry *e)
{
	struct image_weight w;
	bool known = weigh(l, e, &w);
	char size[32], here[64] = "no";
	int r = tabs_cell(&l->tabs, e->name);

	if (known) {
		size_format(w.bytes, size, sizeof(size));
		(void)snprintf(here, sizeof(here), "%zu of %zu layers", w.n_local, w.n_layers);
	}
	if (r == 0)
		r = tabs_cell(&l->tabs, digest_text(&e->digest).s);
	if (r == 0)
		r = tabs_cell(&l->tabs, known ? size : "-");
	return r == 0 ? tabs_cell(&l->tabs, known && w.n_local == w.n_layers ? "yes" : here) : r;
}

static int add_json(struct listing *l, const struct image_entry *e)
{
	struct image_weight w;
	json_t *o = json_object();
	int r = json_out_text(o, "name", e->name);

	if (r == 0)
		r = json_out_digest(o, "digest", &e->digest);
	if (r == 0)
		r = json_out_text(o, "mediatype", e->mediatype);
	if (r == 0 && weigh(l, e, &w)) {
		r = json_out_size(o, "size", w.bytes);
		if (r == 0)
			r = json_out_size(o, "local_size", w.local_bytes);
	}
	if (r < 0) {
		json_decref(o);
		return r;
	}
	return json_array_append_new(l->json, o) < 0 ? -ENOMEM : 0;
}

static int add_entry(void *arg, const struct image_entry *e)
{
	struct listing *l = arg;

	if (e->name[0] == '\0')
		return 0;
	if (l->json != NULL)
		return add_json(l, e);
	if (l->quiet)
		return printf("%s\n", e->name) < 0 ? -EIO : 0;
	return add_row(l, e);
}

static int print_table(struct listing *l, struct err *err)
{
	static const char *const heads[] = {"NAME", "DIGEST", "SIZE", "HERE"};
	cleanup_buf struct buf out;
	int r = 0;

	buf_init(&out, MAX_TABLE_BYTES);
	for (size_t i = 0; i < 4 && r == 0; i++)
		r = tabs_cell(&l->tabs, heads[i]);
	if (r == 0)
		r = image_index_walk(l->store, add_entry, l, err);
	if (r == 0)
		r = tabs_print(&l->tabs, &out);
	if (r == 0)
		(void)fwrite(out.data, 1, out.len, stdout);
	return r;
}

static int list(const struct cli_program *p, struct listing *l, bool json)
{
	struct err err = {0};
	int r;

	if (json) {
		l->json = json_array();
		r = l->json == NULL ? -ENOMEM : image_index_walk(l->store, add_entry, l, &err);
		if (r == 0)
			return json_out_print(p, l->json);
		json_decref(l->json);
	} else if (l->quiet) {
		r = image_index_walk(l->store, add_entry, l, &err);
	} else {
		tabs_init(&l->tabs, 4);
		r = print_table(l, &err);
		tabs_done(&l->tabs);
	}
	return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
}

int cmd_images(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"quiet", no_argument, NULL, 'q'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	cleanup(store_closep) struct store *s = NULL;
	struct listing l = {0};
	const char *root = root_default();
	bool json = false;
	int o, status;

	while ((o = cli_getopt(p, argc, argv, "q", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'r')
			root = optarg;
		l.quiet = l.quiet || o == 'q';
		json = json || o == 'j';
	}
	if (optind != argc)
		return cli_usage_error(p, "images takes no arguments");
	if (root_open(p, root, STORE_RDONLY, &s) != CLI_OK)
		return CLI_FAILED;
	l.store = s;
	platform_host(&l.platform);
	return list(p, &l, json);
}

/* A name is kept in full, so that every way to write it finds it. */
static int tag(struct store *s, const char *image, const char *name, struct err *err)
{
	struct image_entry e = {0};
	struct reference ref;
	struct platform host;
	struct image im;
	struct stat st;
	int r = reference_parse(name, &ref, err);

	if (r == 0 && ref.has_digest)
		r = err_set(err, EINVAL, "a name with a digest is none to give: \"%s\"", name);
	if (r < 0)
		return r;
	platform_host(&host);
	r = image_open(s, image, &host, &im, err);
	if (r < 0)
		return r;
	reference_set_default_tag(&ref);
	reference_format(&ref, e.name);
	e.digest = im.entry.digest;
	(void)snprintf(e.mediatype, sizeof(e.mediatype), "%s",
		       im.index != NULL ? im.index->mediatype : im.manifest->mediatype);
	image_close(&im);
	r = blob_stat(s, &e.digest, &st);
	if (r < 0)
		return err_errno(err, -r, "%s", digest_text(&e.digest).s);
	e.size = (uint64_t)st.st_size;
	r = image_index_set(s, &e, err);
	if (r == 0)
		printf("%s\n", e.name);
	return r;
}

/* The store, once the options have been read: n arguments at least. NULL: end with *ret_status. */
static struct store *begin(const struct cli_program *p, int argc, char **argv, int *ret_status)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'}, {0}};
	const char *root = root_default();
	struct store *s = NULL;
	int o;

	while ((o = cli_getopt(p, argc, argv, "", longs, ret_status)) != -1) {
		if (o == CLI_STOP)
			return NULL;
		root = optarg;
	}
	*ret_status = root_open(p, root, 0, &s);
	return s;
}

int cmd_tag(const struct cli_program *p, int argc, char **argv)
{
	int r, status = CLI_FAILED;
	cleanup(store_closep) struct store *s = begin(p, argc, argv, &status);
	struct err err = {0};

	if (s == NULL)
		return status;
	if (argc - optind != 2)
		return cli_usage_error(p, "please specify an image or digest, and a name");
	r = tag(s, argv[optind], argv[optind + 1], &err);
	return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
}

int cmd_untag(const struct cli_program *p, int argc, char **argv)
{
	int status = CLI_FAILED;
	cleanup(store_closep) struct store *s = begin(p, argc, argv, &status);

	if (s == NULL)
		return status;
	if (optind == argc)
		return cli_usage_error(p, "please specify a name");
	for (int i = optind; i < argc; i++) {
		struct image_entry e = {0};
		struct err err = {0};
		int r = image_find(s, argv[i], &e, &err);

		if (r == 0 && e.name[0] == '\0')
			r = err_set(&err, EINVAL, "\"%s\" is a digest, not a name", argv[i]);
		if (r == 0)
			r = image_index_remove(s, e.name, &err);
		if (r < 0)
			status = cli_fail(p, NULL, &err, r);
		else
			printf("%s\n", e.name);
	}
	return status;
}
