/* dist inspect: what an image of the store is made of, and what it runs. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/size.h"
#include "base/tabs.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/image.h"
#include "dist/json.h"
#include "dist/root.h"
#include "oci/chainid.h"
#include "store/blob.h"
#include "store/store_cleanup.h"

#define MAX_TEXT_BYTES ((size_t)64 << 20)

/* The manifest, or the index that has none for the platform. */
static const struct manifest *document(const struct image *im)
{
	const struct manifest *m = im->manifest != NULL ? im->manifest : im->index;

	assert(m != NULL); /* image_open() */
	return m;
}

/* The step of the history that made layer n, or NULL. */
static const struct image_history *step_of(const struct image_config *c, size_t n)
{
	for (size_t i = 0; c != NULL && i < c->n_history; i++)
		if (!c->history[i].empty_layer && n-- == 0)
			return &c->history[i];
	return NULL;
}

/* "Name:  text", what could steer a terminal escaped; nothing for "". */
static int line(struct buf *out, const char *name, const char *text)
{
	char label[32];
	int r;

	if (text[0] == '\0')
		return 0;
	(void)snprintf(label, sizeof(label), "%s%s", name, name[0] != '\0' ? ":" : "");
	r = buf_printf(out, "%-13s", label);
	if (r == 0)
		r = tabs_escape(text, out, NULL);
	return r == 0 ? buf_puts(out, "\n") : r;
}

/* One line each, the name before the first. */
static int lines(struct buf *out, const char *name, const struct image_strings *l)
{
	int r = 0;

	for (size_t i = 0; i < l->n && r == 0; i++)
		r = line(out, i == 0 ? name : "", l->s[i][0] != '\0' ? l->s[i] : "\"\"");
	return r;
}

static int label_lines(struct buf *out, const struct image_config *c)
{
	int r = 0;

	for (size_t i = 0; i < c->label_keys.n && r == 0; i++) {
		cleanup_buf struct buf text;

		buf_init(&text, MAX_TEXT_BYTES);
		r = buf_printf(&text, "%s=%s", c->label_keys.s[i], c->label_values.s[i]);
		if (r == 0)
			r = line(out, i == 0 ? "Labels" : "", text.data);
	}
	return r;
}

/* A command as a JSON array: where its words end can be seen. */
static int command_line(struct buf *out, const char *name, const struct image_strings *l)
{
	json_t *array = json_array();
	char *text;
	int r = array == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < l->n && r == 0; i++)
		r = json_array_append_new(array, json_string(l->s[i])) < 0 ? -ENOMEM : 0;
	text = r == 0 ? json_dumps(array, 0) : NULL;
	json_decref(array);
	if (text == NULL)
		return -ENOMEM;
	r = l->n > 0 ? line(out, name, text) : 0;
	free(text);
	return r;
}

static int config_lines(struct buf *out, const struct image_config *c)
{
	int r = line(out, "Created", c->created);

	if (r == 0)
		r = line(out, "Author", c->author);
	if (r == 0)
		r = command_line(out, "Entrypoint", &c->entrypoint);
	if (r == 0)
		r = command_line(out, "Command", &c->cmd);
	if (r == 0)
		r = line(out, "User", c->user);
	if (r == 0)
		r = line(out, "Directory", c->working_dir);
	if (r == 0)
		r = lines(out, "Environment", &c->env);
	if (r == 0)
		r = lines(out, "Volumes", &c->volumes);
	if (r == 0)
		r = lines(out, "Ports", &c->exposed_ports);
	if (r == 0)
		r = line(out, "Stop signal", c->stop_signal);
	return r == 0 ? label_lines(out, c) : r;
}

static int size_line(struct store *s, struct buf *out, const struct manifest *m)
{
	struct image_weight w = image_weigh(s, m);
	char all[32], here[32], text[160];

	size_format(w.bytes, all, sizeof(all));
	size_format(w.local_bytes, here, sizeof(here));
	if (w.local_bytes == w.bytes)
		(void)snprintf(text, sizeof(text), "%s in %zu layers", all, m->n_entries);
	else
		(void)snprintf(text, sizeof(text), "%s in %zu layers, %s and %zu layers are here",
			       all, m->n_entries, here, w.n_local);
	return line(out, "Size", text);
}

/* A table under the lines: rows of four cells. */
static int cells(struct tabs *t, const char *a, const char *b, const char *c, const char *d)
{
	int r = tabs_cell(t, a);

	if (r == 0)
		r = tabs_cell(t, b);
	if (r == 0)
		r = tabs_cell(t, c);
	return r == 0 ? tabs_cell(t, d) : r;
}

static int entry_row(struct store *s, struct tabs *t, const struct descriptor *d, const char *what)
{
	char size[32];

	size_format(d->size, size, sizeof(size));
	return cells(t, digest_text(&d->digest).s, size, blob_exists(s, &d->digest) ? "yes" : "no",
		     what);
}

static int entry_table(struct store *s, struct buf *out, const struct manifest *m,
		       const struct image_config *c)
{
	bool is_index = m->kind == MANIFEST_INDEX;
	struct tabs t;
	int r;

	tabs_init(&t, 4);
	r = cells(&t, is_index ? "MANIFEST" : "LAYER", "SIZE", "HERE",
		  is_index ? "PLATFORM" : "MADE BY");
	for (size_t i = 0; i < m->n_entries && r == 0; i++) {
		const struct image_history *h = is_index ? NULL : step_of(c, i);
		char platform[PLATFORM_TEXT_MAX];

		platform_format(&m->entries[i].platform, platform);
		r = entry_row(s, &t, &m->entries[i],
			      is_index	  ? platform
			      : h != NULL ? h->created_by
					  : m->entries[i].mediatype);
	}
	if (r == 0)
		r = buf_puts(out, "\n");
	if (r == 0)
		r = tabs_print(&t, out);
	tabs_done(&t);
	return r;
}

static int history_table(struct buf *out, const struct image_config *c)
{
	struct tabs t;
	int r;

	tabs_init(&t, 4);
	r = cells(&t, "HISTORY", "LAYER", "COMMENT", "MADE BY");
	for (size_t i = 0; i < c->n_history && r == 0; i++) {
		const struct image_history *h = &c->history[i];

		r = cells(&t, h->created[0] != '\0' ? h->created : "-",
			  h->empty_layer ? "no" : "yes", h->comment[0] != '\0' ? h->comment : "-",
			  h->created_by[0] != '\0' ? h->created_by : "-");
	}
	if (r == 0)
		r = buf_puts(out, "\n");
	if (r == 0)
		r = tabs_print(&t, out);
	tabs_done(&t);
	return r;
}

static int describe(struct store *s, const struct image *im, struct buf *out)
{
	const struct manifest *m = document(im);
	char platform[PLATFORM_TEXT_MAX];
	int r = line(out, "Name", im->entry.name);

	if (r == 0 && im->index != NULL)
		r = line(out, "Index", digest_text(&im->entry.digest).s);
	if (r == 0 && im->manifest != NULL)
		r = line(out, "Digest", digest_text(&im->digest).s);
	if (r == 0)
		r = line(out, "Type", m->mediatype);
	if (r == 0 && im->config != NULL) {
		platform_format(&im->config->platform, platform);
		r = line(out, "Platform", platform);
	}
	if (r == 0 && im->manifest != NULL)
		r = line(out, "Config", digest_text(&m->config.digest).s);
	if (r == 0 && im->manifest != NULL)
		r = size_line(s, out, m);
	if (r == 0 && im->config != NULL)
		r = config_lines(out, im->config);
	if (r == 0)
		r = entry_table(s, out, m, im->config);
	if (r == 0 && im->config != NULL && im->config->n_history > 0)
		r = history_table(out, im->config);
	return r;
}

/* A document of the store as it is, under key. */
static int add_document(struct store *s, json_t *all, const char *key, const struct digest *d)
{
	cleanup_buf struct buf b;
	json_t *v;
	int r;

	buf_init(&b, MANIFEST_MAX_BYTES);
	r = blob_read(s, d, &b, NULL);
	if (r < 0)
		return r;
	v = json_loadb(b.data, b.len, 0, NULL);
	return v == NULL || json_object_set_new(all, key, v) < 0 ? -ENOMEM : 0;
}

static int add_layer(struct store *s, json_t *layers, const struct image *im, size_t i,
		     struct digest *chain)
{
	const struct descriptor *d = &im->manifest->entries[i];
	json_t *o = json_object();
	int r = json_out_digest(o, "digest", &d->digest);

	if (r == 0)
		r = json_out_size(o, "size", d->size);
	if (r == 0)
		r = json_out_text(o, "mediatype", d->mediatype);
	if (r == 0)
		r = json_object_set_new(o, "local", json_boolean(blob_exists(s, &d->digest)));
	if (r == 0 && im->config != NULL) {
		r = chainid_next(i > 0 ? chain : NULL, &im->config->diff_ids[i], chain);
		if (r == 0)
			r = json_out_digest(o, "diff_id", &im->config->diff_ids[i]);
		if (r == 0)
			r = json_out_digest(o, "chain_id", chain);
	}
	if (r < 0) {
		json_decref(o);
		return -ENOMEM;
	}
	return json_array_append_new(layers, o) < 0 ? -ENOMEM : 0;
}

static int add_image(struct store *s, json_t *all, const struct image *im)
{
	struct image_weight w = image_weigh(s, im->manifest);
	json_t *layers = json_array();
	struct digest chain;
	int r = layers == NULL || json_object_set_new(all, "layers", layers) < 0 ? -ENOMEM : 0;

	if (r == 0)
		r = json_out_size(all, "size", w.bytes);
	if (r == 0)
		r = json_out_size(all, "local_size", w.local_bytes);
	for (size_t i = 0; i < im->manifest->n_entries && r == 0; i++)
		r = add_layer(s, layers, im, i, &chain);
	if (r == 0)
		r = add_document(s, all, "manifest", &im->digest);
	if (r == 0 && im->config != NULL)
		r = add_document(s, all, "config", &im->manifest->config.digest);
	return r;
}

static int to_json(struct store *s, const struct image *im, json_t *all)
{
	const struct manifest *m = document(im);
	char platform[PLATFORM_TEXT_MAX];
	int r = 0;

	if (im->entry.name[0] != '\0')
		r = json_out_text(all, "name", im->entry.name);
	if (r == 0)
		r = json_out_digest(all, "digest",
				    im->manifest != NULL ? &im->digest : &im->entry.digest);
	if (r == 0)
		r = json_out_text(all, "mediatype", m->mediatype);
	if (r == 0 && im->config != NULL) {
		platform_format(&im->config->platform, platform);
		r = json_out_text(all, "platform", platform);
	}
	if (r == 0 && im->manifest != NULL)
		r = add_image(s, all, im);
	if (r == 0 && im->index != NULL)
		r = json_out_digest(all, "index_digest", &im->entry.digest);
	if (r == 0 && im->index != NULL)
		r = add_document(s, all, "index", &im->entry.digest);
	return r;
}

static int show(const struct cli_program *p, struct store *s, const struct image *im, bool json)
{
	cleanup_buf struct buf out;
	int r;

	buf_init(&out, MAX_TEXT_BYTES);
	if (json) {
		json_t *all = json_object();

		r = all == NULL ? -ENOMEM : to_json(s, im, all);
		if (r == 0)
			return json_out_print(p, all);
		json_decref(all);
	} else {
		r = describe(s, im, &out);
		if (r == 0)
			(void)fwrite(out.data, 1, out.len, stdout);
	}
	return r < 0 ? cli_fail(p, im->entry.name, NULL, r) : CLI_OK;
}

static int inspect(const struct cli_program *p, const char *root, const char *text,
		   const char *platform, bool json)
{
	cleanup(store_closep) struct store *s = NULL;
	struct image im = {0};
	struct platform want;
	struct err err = {0};
	int r = image_platform(platform, &want, &err), status;

	if (r == 0 && root_open(p, root, STORE_RDONLY, &s) != CLI_OK)
		return CLI_FAILED;
	if (r == 0)
		r = image_open(s, text, &want, &im, &err);
	if (r == 0 && im.manifest != NULL && mediatype_is_config(im.manifest->config.mediatype))
		r = image_load_config(s, &im, &err);
	status = r < 0 ? cli_fail(p, text, &err, r) : show(p, s, &im, json);
	image_close(&im);
	return status;
}

int cmd_inspect(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"platform", required_argument, NULL, 'P'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	const char *root = root_default(), *platform = NULL;
	bool json = false;
	int o, status;

	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'r')
			root = optarg;
		if (o == 'P')
			platform = optarg;
		json = json || o == 'j';
	}
	if (argc - optind != 1)
		return cli_usage_error(p, "please specify one image or digest");
	return inspect(p, root, argv[optind], platform, json);
}
