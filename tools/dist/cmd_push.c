/*
 * dist push: an image of the store to a registry, or a blob by itself.
 *
 *   name or digest -> objects (all must be here) -> layers, configs, in parallel -> manifests,
 * those that are named by others first, the last of them under the tag
 *
 * What the registry has is not sent; what another repository there has, by our labels, is mounted.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/image.h"
#include "dist/json.h"
#include "dist/objects.h"
#include "dist/remote.h"
#include "dist/root.h"
#include "dist/transfers.h"
#include "registry/push.h"
#include "store/blob.h"
#include "store/label.h"
#include "store/store_cleanup.h"

CLEANUP_DEFINE(struct manifest *, manifest_free);

struct push {
	const struct cli_program *program;
	struct store *store;
	struct registry *registry;
	struct reference target;
	struct digest digest; /* what is pushed */
	bool is_image;	      /* else a blob */
	struct objects objects;
	struct bars bars;
	unsigned int parallel;
	bool json;
	uint64_t n_sent; /* bytes of blobs; by __atomic */
};

static int is_here(void *arg, const struct descriptor *d, struct err *err)
{
	const struct push *p = arg;

	if (!blob_exists(p->store, &d->digest))
		return err_set(err, ENOENT,
			       "not in the store (--platform OS/ARCH pushes a single image)");
	return 0;
}

/* Another repository of the target's registry that the blob came from, "" where we know none. */
static void find_other(const struct push *p, const struct digest *d, char out[256])
{
	size_t n = strlen(p->target.host);
	struct label label;

	out[0] = '\0';
	label_init(&label);
	if (label_read(p->store, d, &label) < 0)
		return;
	for (size_t i = 0; i < label.n_sources; i++)
		if (strncmp(label.source[i], p->target.host, n) == 0 && label.source[i][n] == '/' &&
		    strcmp(label.source[i] + n + 1, p->target.repository) != 0)
			(void)snprintf(out, 256, "%s", label.source[i] + n + 1);
}

static int on_progress(void *arg, uint64_t bytes)
{
	return transfer_progress(arg, bytes);
}

/* transfers.move */
static int push_blob(void *arg, const struct descriptor *d, struct transfer *x,
		     const char **ret_how, struct err *err)
{
	static const char *const words[] = {
		[REGISTRY_PUSHED] = "pushed",
		[REGISTRY_MOUNTED] = "mounted",
		[REGISTRY_WAS_THERE] = "was there",
	};
	struct push *p = arg;
	cleanup_fd int fd = blob_open(p->store, &d->digest);
	enum registry_pushed how;
	struct stat st;
	char other[256];
	int r;

	if (fd < 0)
		return fd == -ENOENT ? err_set(err, ENOENT, "not in the store")
				     : err_errno(err, -fd, "open");
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "stat");
	find_other(p, &d->digest, other);
	r = registry_push_blob(p->registry,
			       &(struct registry_blob){
				       .host = p->target.host,
				       .repository = p->target.repository,
				       .from = other[0] != '\0' ? other : NULL,
				       .digest = d->digest,
				       .size = (uint64_t)st.st_size,
				       .fd = fd,
				       .progress = on_progress,
				       .arg = x,
			       },
			       &how, err);
	if (r < 0)
		return r;
	*ret_how = words[how];
	if (how == REGISTRY_PUSHED)
		(void)__atomic_add_fetch(&p->n_sent, (uint64_t)st.st_size, __ATOMIC_RELAXED);
	return 0;
}

/* Under its digest, the last one under what the target says. */
static int push_manifest(struct push *p, const struct object *o, bool is_last, struct err *err)
{
	struct digest_text by_digest = digest_text(&o->d.digest);
	const char *reference;
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MANIFEST_MAX_BYTES);
	reference = is_last && !p->target.has_digest ? p->target.tag : by_digest.s;
	r = blob_read(p->store, &o->d.digest, &b, err);
	if (r == 0)
		r = registry_push_manifest(p->registry, p->target.host, p->target.repository,
					   reference, o->d.mediatype, b.data, b.len, err);
	if (r < 0)
		return err_wrap(err, r, "manifest %s", by_digest.s);
	if (!p->json)
		bars_say(&p->bars, "%s manifest pushed", by_digest.s);
	return 0;
}

static int push_manifests(struct push *p, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < p->objects.n && r == 0; i++)
		if (p->objects.v[i].kind == OBJECT_MANIFEST)
			r = push_manifest(p, &p->objects.v[i], i + 1 == p->objects.n, err);
	return r;
}

/* Whether the blob is a manifest: its bytes say so. */
static int look_into(struct push *p, struct err *err)
{
	cleanup(manifest_freep) struct manifest *m = NULL;
	cleanup_buf struct buf b;
	struct err why;
	int r;

	buf_init(&b, MANIFEST_MAX_BYTES);
	r = blob_read(p->store, &p->digest, &b, err);
	if (r == -ENOENT)
		return err_set(err, ENOENT, "not in the store");
	if (r == 0)
		p->is_image = manifest_parse(b.data, b.len, &m, &why) == 0;
	return r == -E2BIG ? 0 : r;
}

/* One object, which nothing names. */
static int single_blob(struct push *p, struct err *err)
{
	struct stat st;
	int r = blob_stat(p->store, &p->digest, &st);

	if (r < 0)
		return err_errno(err, -r, "stat");
	p->objects.v = calloc(1, sizeof(*p->objects.v));
	if (p->objects.v == NULL)
		return err_set(err, ENOMEM, "out of memory");
	p->objects.v[0] = (struct object){.kind = OBJECT_BLOB,
					  .d = {.digest = p->digest, .size = (uint64_t)st.st_size}};
	p->objects.n = p->objects.cap = 1;
	return 0;
}

static int push(struct push *p, struct err *err)
{
	struct objects_question q = {.store = p->store, .have = is_here, .arg = p};
	struct descriptor top = {.digest = p->digest};
	struct transfers t = {.objects = &p->objects,
			      .parallel = p->parallel,
			      .quiet = p->json,
			      .bars = &p->bars,
			      .move = push_blob,
			      .arg = p};
	int r = look_into(p, err);

	if (r == 0)
		r = p->is_image ? objects_collect(&q, &top, &p->objects, err) : single_blob(p, err);
	if (r == 0)
		r = transfers_run(&t, err);
	return r == 0 ? push_manifests(p, err) : r;
}

static int print_json(const struct push *p)
{
	char name[REFERENCE_TEXT_MAX];
	json_t *out = json_object();
	int r;

	reference_format(&p->target, name);
	r = json_out_text(out, "name", name);
	if (r == 0)
		r = json_out_digest(out, "digest", &p->digest);
	if (r == 0)
		r = json_out_size(out, "objects", p->objects.n);
	if (r == 0)
		r = json_out_size(out, "sent_bytes", p->n_sent);
	if (r < 0) {
		json_decref(out);
		out = NULL;
	}
	return json_out_print(p->program, out);
}

/* What of the store, down to one platform where that was asked for. */
static int find(struct push *p, const char *text, const struct platform *want, struct err *err)
{
	struct image_entry e;
	struct image im;
	int r;

	if (want == NULL) {
		r = image_find(p->store, text, &e, err);
		if (r == 0)
			p->digest = e.digest;
		return r;
	}
	r = image_open(p->store, text, want, &im, err);
	if (r < 0)
		return r;
	if (im.manifest == NULL)
		r = err_set(err, ENOENT, "has no image for that platform");
	p->digest = im.digest;
	image_close(&im);
	return r;
}

static int set_target(struct push *p, const char *locator, struct err *err)
{
	int r = reference_parse(locator, &p->target, err);

	if (r < 0)
		return r;
	if (p->target.has_digest && !digest_equal(&p->target.digest, &p->digest))
		return err_set(err, EINVAL, "\"%.200s\" names another digest than %s", locator,
			       digest_text(&p->digest).s);
	reference_set_default_tag(&p->target);
	return 0;
}

struct push_options {
	const char *root;
	struct remote remote;
	bool json, has_platform;
	struct platform platform;
	unsigned int parallel;
};

static int push_and_tell(struct push *p, const struct push_options *opt, const char *image,
			 const char *locator)
{
	struct err err = {0};
	int r = find(p, image, opt->has_platform ? &opt->platform : NULL, &err);

	bars_init(&p->bars);
	if (r == 0)
		r = set_target(p, locator, &err);
	if (r == 0)
		r = push(p, &err);
	bars_done(&p->bars);
	if (r < 0) {
		(void)err_wrap(&err, r, "push %.200s to %.200s", image, locator);
		return cli_fail(p->program, NULL, &err, r);
	}
	if (p->json)
		return print_json(p);
	printf("%s\n", digest_text(&p->digest).s);
	return CLI_OK;
}

static int run_push(const struct cli_program *program, const struct push_options *opt,
		    const char *image, const char *locator)
{
	cleanup(store_closep) struct store *s = NULL;
	cleanup(registry_freep) struct registry *registry = NULL;
	struct push p = {.program = program, .parallel = opt->parallel, .json = opt->json};
	int status;

	if (root_open(program, opt->root, STORE_RDONLY, &s) != CLI_OK ||
	    remote_open(program, &opt->remote, &registry) != CLI_OK)
		return CLI_FAILED;
	p.store = s;
	p.registry = registry;
	status = push_and_tell(&p, opt, image, locator);
	objects_done(&p.objects);
	return status;
}

static int take_option(const struct cli_program *p, struct push_options *opt, int o)
{
	struct err err = {0};
	uint64_t n;
	int r;

	switch (o) {
	case 'r':
		opt->root = optarg;
		return CLI_OK;
	case 'P':
		opt->has_platform = true;
		r = platform_parse(optarg, &opt->platform, &err);
		return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
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

int cmd_push(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"creds", required_argument, NULL, 'C'},
					      {"auth-file", required_argument, NULL, 'A'},
					      {"hosts-dir", required_argument, NULL, 'H'},
					      {"root", required_argument, NULL, 'r'},
					      {"platform", required_argument, NULL, 'P'},
					      {"parallel", required_argument, NULL, 'n'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	struct push_options opt = {.root = root_default(), .parallel = TRANSFERS_PARALLEL};
	int o, status;

	if (remote_init(p, &opt.remote) != CLI_OK)
		return CLI_FAILED;
	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (take_option(p, &opt, o) != CLI_OK)
			return CLI_FAILED;
	}
	if (argc - optind != 2)
		return cli_usage_error(p, "want IMAGE|DIGEST and NAME; options go before them");
	return run_push(p, &opt, argv[optind], argv[optind + 1]);
}
