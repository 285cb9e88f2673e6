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
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "base/workqueue.h"
#include "cli/bars.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/json.h"
#include "dist/objects.h"
#include "dist/remote.h"
#include "dist/root.h"
#include "fill/fill.h"
#include "store/blob.h"
#include "store/image_index.h"
#include "store/store_cleanup.h"

#define DEFAULT_PARALLEL 4
#define PARALLEL_MAX 64
#define TICK_MS 100

CLEANUP_DEFINE(struct fill *, fill_free);

enum progress_state { WAITING, RUNNING, FETCHED, PRESENT };

struct pull;

struct job {
	struct work work;
	struct pull *pull;
	const struct object *object;
	enum progress_state state; /* protected by pull->lock, like all below */
	bool told;
	uint64_t here, started_ms;
};

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

	struct job *jobs;
	size_t n_jobs;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* on CLOCK_MONOTONIC */
	size_t n_left;		/* protected by lock, like all below */
	uint64_t n_fetched;	/* bytes that were not here before */
	int r;			/* the first failure, which ends it all */
	struct err err;
};

static uint64_t time_left(const struct pull *p)
{
	uint64_t now = clock_mono_ms();

	if (p->remote->deadline_ms == 0)
		return 0;
	return p->remote->deadline_ms > now ? p->remote->deadline_ms - now : 1;
}

static struct fill_object fill_object(const struct pull *p, const struct descriptor *d)
{
	return (struct fill_object){
		.digest = d->digest,
		.has_size = d->size > 0,
		.size = d->size,
		.source = p->source,
		.mediatype = d->mediatype[0] != '\0' ? d->mediatype : NULL,
	};
}

/* objects_question.have: a manifest, before it is read. */
static int have_manifest(void *arg, const struct descriptor *d, struct err *err)
{
	struct pull *p = arg;
	struct fill_object o = fill_object(p, d);
	bool present = blob_exists(p->store, &d->digest);
	struct stat st;
	int r;

	if (!present) {
		r = fill_get(p->fill, &o, time_left(p), NULL, NULL, err);
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
	struct job *j = arg;
	int r;

	(void)total;
	(void)pthread_mutex_lock(&j->pull->lock);
	j->here = here;
	r = j->pull->r < 0 ? -ECANCELED : 0;
	(void)pthread_mutex_unlock(&j->pull->lock);
	return r;
}

static void run(struct work *work)
{
	struct job *j = (struct job *)work;
	struct pull *p = j->pull;
	const struct descriptor *d = &j->object->d;
	struct fill_object o = fill_object(p, d);
	bool present = blob_exists(p->store, &d->digest);
	struct err err = {0};
	int r;

	(void)pthread_mutex_lock(&p->lock);
	j->state = RUNNING;
	j->started_ms = clock_mono_ms();
	r = p->r;
	(void)pthread_mutex_unlock(&p->lock);
	if (r == 0 && !present)
		r = fill_get(p->fill, &o, time_left(p), on_progress, j, &err);
	(void)pthread_mutex_lock(&p->lock);
	if (r < 0 && p->r == 0) {
		p->r = err_wrap(&err, r, "%s %s", object_kind_name(j->object->kind),
				digest_text(&d->digest).s);
		p->err = err;
	}
	j->state = present ? PRESENT : FETCHED;
	if (r == 0 && !present)
		p->n_fetched += d->size;
	p->n_left--;
	(void)pthread_cond_signal(&p->changed);
	(void)pthread_mutex_unlock(&p->lock);
}

/* A line for each that has ended since, and the bars of those under way. */
static void show_locked(struct pull *p)
{
	struct bar bars[PARALLEL_MAX];
	size_t n = 0;

	for (size_t i = 0; i < p->n_jobs && !p->json; i++) {
		struct job *j = &p->jobs[i];
		const struct object *o = j->object;
		char size[32];

		if ((j->state == FETCHED || j->state == PRESENT) && !j->told && p->r == 0) {
			size_format(o->d.size, size, sizeof(size));
			bars_say(&p->bars, "%s %s %s, %s", digest_text(&o->d.digest).s,
				 object_kind_name(o->kind),
				 j->state == FETCHED ? "fetched" : "is here", size);
			j->told = true;
		}
		if (j->state == RUNNING && n < PARALLEL_MAX) {
			bars[n] = (struct bar){
				.done = j->here, .total = o->d.size, .start_ms = j->started_ms};
			(void)snprintf(bars[n++].name, sizeof(bars[0].name), "%s %.19s",
				       object_kind_name(o->kind), digest_text(&o->d.digest).s);
		}
	}
	bars_draw(&p->bars, bars, n);
}

static void wait_for_jobs(struct pull *p)
{
	(void)pthread_mutex_lock(&p->lock);
	while (p->n_left > 0) {
		uint64_t until_ms = clock_mono_ms() + TICK_MS;
		struct timespec ts = {.tv_sec = (time_t)(until_ms / 1000),
				      .tv_nsec = (long)(until_ms % 1000) * 1000000};

		(void)pthread_cond_timedwait(&p->changed, &p->lock, &ts);
		show_locked(p);
	}
	show_locked(p);
	(void)pthread_mutex_unlock(&p->lock);
	bars_done(&p->bars);
}

/* Everything but the manifests, which are here already. */
static int fetch_blobs(struct pull *p, struct err *err)
{
	struct workqueue *q;
	int r;

	p->jobs = calloc(p->objects.n > 0 ? p->objects.n : 1, sizeof(*p->jobs));
	if (p->jobs == NULL)
		return err_set(err, ENOMEM, "out of memory");
	r = workqueue_new(p->parallel, &q);
	if (r < 0)
		return err_errno(err, -r, "start threads");
	for (size_t i = 0; i < p->objects.n; i++)
		if (p->objects.v[i].kind != OBJECT_MANIFEST)
			p->jobs[p->n_jobs++] = (struct job){
				.work.run = run, .pull = p, .object = &p->objects.v[i]};
	p->n_left = p->n_jobs;
	for (size_t i = 0; i < p->n_jobs; i++)
		workqueue_add(q, &p->jobs[i].work);
	wait_for_jobs(p);
	workqueue_free(q);
	if (p->r < 0)
		*err = p->err;
	return p->r;
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
	int r = resolve(p, err);

	if (r == 0)
		r = objects_collect(&q, &p->top, &p->objects, err);
	if (r < 0)
		return r;
	p->top = p->objects.v[p->objects.n - 1].d;
	r = fetch_blobs(p, err);
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
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	pthread_condattr_t attr;
	int status;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&pull.changed, &attr);
	status = open_all(&pull, opt->root);
	if (status == CLI_OK)
		status = pull_and_tell(&pull, opt->all_platforms ? NULL : &opt->platform);
	free(pull.jobs);
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
		if (size_parse_plain(optarg, &n) < 0 || n < 1 || n > PARALLEL_MAX)
			return cli_usage_error(p, "--parallel: want 1 to %d", PARALLEL_MAX);
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
	struct pull_options opt = {.root = root_default(), .parallel = DEFAULT_PARALLEL};
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
