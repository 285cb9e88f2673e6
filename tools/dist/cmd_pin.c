/*
 * dist pin, unpin: what must not be evicted. The one who is named is "pinned", what it is made of
 * is "part"; to unpin leaves the parts that others which are pinned are made of as well.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/image.h"
#include "dist/image_parts.h"
#include "dist/root.h"
#include "store/blob.h"
#include "store/label.h"
#include "store/store_cleanup.h"

struct digests {
	struct digest *at;
	size_t n, cap;
};

static void digests_done(struct digests *l)
{
	free(l->at);
}

static int compare(const void *a, const void *b)
{
	return digest_compare(a, b);
}

static int add_digest(void *arg, const struct digest *d)
{
	struct digests *l = arg;

	if (l->n == l->cap) {
		size_t cap = l->cap > 0 ? l->cap * 2 : 64;
		struct digest *at = reallocarray(l->at, cap, sizeof(*at));

		if (at == NULL)
			return -ENOMEM;
		l->at = at;
		l->cap = cap;
	}
	l->at[l->n++] = *d;
	return 0;
}

struct pinning {
	struct store *store;
	struct digest root;
	struct digests kept; /* sorted: what others that are pinned are made of */
	struct err *err;
};

static enum label_pin pin_of(struct store *s, const struct digest *d)
{
	struct label l;

	return label_read(s, d, &l) < 0 ? LABEL_UNPINNED : l.pin;
}

static int set_pin(struct pinning *p, const struct digest *d, enum label_pin pin)
{
	int r = label_set_pin(p->store, d, pin);

	return r < 0 ? err_errno(p->err, -r, "label of %s", digest_text(d).s) : 0;
}

static int pin_part(void *arg, const struct digest *d)
{
	struct pinning *p = arg;

	if (digest_equal(d, &p->root))
		return set_pin(p, d, LABEL_PINNED);
	return pin_of(p->store, d) == LABEL_UNPINNED ? set_pin(p, d, LABEL_PINNED_PART) : 0;
}

static int unpin_part(void *arg, const struct digest *d)
{
	struct pinning *p = arg;
	bool kept = p->kept.n > 0 && bsearch(d, p->kept.at, p->kept.n, sizeof(*d), compare) != NULL;

	if (!kept)
		return set_pin(p, d, LABEL_UNPINNED);
	return digest_equal(d, &p->root) ? set_pin(p, d, LABEL_PINNED_PART) : 0;
}

static int add_root(void *arg, const struct digest *d, const struct label *l)
{
	return l->pin == LABEL_PINNED ? add_digest(arg, d) : 0;
}

/* Parts of everything that is pinned by itself, but for p->root. */
static int find_kept(struct pinning *p)
{
	cleanup(digests_done) struct digests roots = {0};
	int r = label_walk(p->store, add_root, &roots);

	for (size_t i = 0; i < roots.n && r == 0; i++)
		if (!digest_equal(&roots.at[i], &p->root))
			r = image_parts(p->store, &roots.at[i], add_digest, &p->kept, p->err);
	if (p->kept.n > 0)
		qsort(p->kept.at, p->kept.n, sizeof(*p->kept.at), compare);
	return r;
}

static int pin_or_unpin(struct store *s, const char *what, bool pin, struct err *err)
{
	struct pinning p = {.store = s, .err = err};
	struct image_entry e;
	int r = image_find(s, what, &e, err);

	if (r < 0)
		return r;
	p.root = e.digest;
	if (pin && !blob_exists(s, &p.root))
		return err_set(err, ENOENT, "%s is not in the store", digest_text(&p.root).s);
	if (!pin)
		r = find_kept(&p);
	if (r == 0)
		r = image_parts(s, &p.root, pin ? pin_part : unpin_part, &p, err);
	digests_done(&p.kept);
	if (r == 0)
		printf("%s\n", digest_text(&p.root).s);
	return r;
}

static int pin_all(const struct cli_program *p, int argc, char **argv, bool pin)
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
		return cli_usage_error(p, "%s what? IMAGE or DIGEST", argv[0]);
	if (root_open(p, root, 0, &s) != CLI_OK)
		return CLI_FAILED;
	status = CLI_OK;
	for (int i = optind; i < argc; i++) {
		struct err err = {0};
		int r = pin_or_unpin(s, argv[i], pin, &err);

		if (r < 0)
			status = cli_fail(p, NULL, &err, r);
	}
	return status;
}

int cmd_pin(const struct cli_program *p, int argc, char **argv)
{
	return pin_all(p, argc, argv, /* pin= */ true);
}

int cmd_unpin(const struct cli_program *p, int argc, char **argv)
{
	return pin_all(p, argc, argv, /* pin= */ false);
}
