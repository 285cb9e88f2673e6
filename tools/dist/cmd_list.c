/* dist list: the blobs, in order of their digests. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "base/tabs.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/json.h"
#include "dist/root.h"
#include "store/label.h"
#include "store/store_cleanup.h"
#include "store/walk.h"

#define MAX_TABLE_BYTES ((size_t)4 << 30)

struct listing {
	struct store *store;
	char **prefixes; /* ended by NULL */
	bool quiet, pinned;
	json_t *json; /* NULL: a table */
	struct tabs tabs;
};

/* With or without "sha256:" in front. */
static bool is_wanted(const struct listing *l, const struct digest_text *text)
{
	const char *hex = text->s + strlen(DIGEST_PREFIX);

	if (l->prefixes[0] == NULL)
		return true;
	for (char **p = l->prefixes; *p != NULL; p++)
		if (strncmp(text->s, *p, strlen(*p)) == 0 || strncmp(hex, *p, strlen(*p)) == 0)
			return true;
	return false;
}

static bool is_pinned(const struct listing *l, const struct digest *d)
{
	struct label label;

	return label_read(l->store, d, &label) == 0 && label.pin != LABEL_UNPINNED;
}

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static int add_json(struct listing *l, const struct digest *d, const struct stat *st)
{
	json_t *o = json_object(), *sources = json_array();
	struct label label;
	int r = json_out_digest(o, "digest", d);

	label_init(&label);
	(void)label_read(l->store, d, &label);
	if (r == 0)
		r = json_out_size(o, "size", (uint64_t)st->st_size);
	if (r == 0)
		r = json_out_time(o, "committed_at", mtime_ns(st));
	if (r == 0 && label.mediatype[0] != '\0')
		r = json_out_text(o, "mediatype", label.mediatype);
	if (r == 0 && label.pin != LABEL_UNPINNED)
		r = json_out_text(o, "pinned", label.pin == LABEL_PINNED ? "yes" : "part");
	for (size_t i = 0; i < label.n_sources && r == 0; i++)
		r = json_array_append_new(sources, json_string(label.source[i])) < 0 ? -ENOMEM : 0;
	if (r == 0 && label.n_sources > 0)
		r = json_object_set(o, "source", sources) < 0 ? -ENOMEM : 0;
	json_decref(sources);
	if (r < 0) {
		json_decref(o);
		return r;
	}
	return json_array_append_new(l->json, o) < 0 ? -ENOMEM : 0;
}

static int add_row(struct tabs *tabs, const struct digest_text *text, const struct stat *st)
{
	int64_t age_ns = clock_wall_ns() - mtime_ns(st);
	char size[32], age[64];
	int r;

	size_format((uint64_t)st->st_size, size, sizeof(size));
	clock_format_age(age_ns > 0 ? (uint64_t)age_ns : 0, age, sizeof(age));
	r = tabs_cell(tabs, text->s);
	if (r == 0)
		r = tabs_cell(tabs, size);
	return r == 0 ? tabs_cell(tabs, age) : r;
}

static int add_blob(void *arg, const struct digest *d, const struct stat *st)
{
	struct listing *l = arg;
	struct digest_text text = digest_text(d);

	if (!is_wanted(l, &text) || (l->pinned && !is_pinned(l, d)))
		return 0;
	if (l->json != NULL)
		return add_json(l, d, st);
	if (l->quiet)
		return printf("%s\n", text.s) < 0 ? -EIO : 0;
	return add_row(&l->tabs, &text, st);
}

static int warn_stray(void *arg, const char *name)
{
	(void)arg;
	log_warn("list", "\"%s\" under blobs/sha256 is no blob, left out", name);
	return 0;
}

static int print_table(struct listing *l)
{
	cleanup_buf struct buf out;
	int r = tabs_cell(&l->tabs, "DIGEST");

	buf_init(&out, MAX_TABLE_BYTES);
	if (r == 0)
		r = tabs_cell(&l->tabs, "SIZE");
	if (r == 0)
		r = tabs_cell(&l->tabs, "AGE");
	if (r == 0)
		r = walk_blobs(l->store, add_blob, l);
	if (r == 0)
		r = tabs_print(&l->tabs, &out);
	if (r == 0)
		(void)fwrite(out.data, 1, out.len, stdout);
	return r;
}

static int list(const struct cli_program *p, struct listing *l, bool json)
{
	int r;

	(void)walk_strays(l->store, warn_stray, NULL);
	if (json) {
		l->json = json_array();
		r = l->json == NULL ? -ENOMEM : walk_blobs(l->store, add_blob, l);
		if (r == 0)
			return json_out_print(p, l->json);
		json_decref(l->json);
	} else if (l->quiet) {
		r = walk_blobs(l->store, add_blob, l);
	} else {
		tabs_init(&l->tabs, 3);
		r = print_table(l);
		tabs_done(&l->tabs);
	}
	return r < 0 ? cli_fail(p, "list", NULL, r) : CLI_OK;
}

int cmd_list(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"quiet", no_argument, NULL, 'q'},
					      {"pinned", no_argument, NULL, 'P'},
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
		l.pinned = l.pinned || o == 'P';
		json = json || o == 'j';
	}
	if (root_open(p, root, STORE_RDONLY, &s) != CLI_OK)
		return CLI_FAILED;
	l.store = s;
	l.prefixes = argv + optind;
	return list(p, &l, json);
}
