/* dist verify: hash again what is at rest, on all cores. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/workqueue.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "dist/dist.h"
#include "dist/json.h"
#include "dist/root.h"
#include "store/scrub.h"
#include "store/store_cleanup.h"
#include "store/walk.h"

struct verification {
	const struct cli_program *program;
	struct store *store;
	bool quarantine;
	bool all; /* not asked for one by one: those that go meanwhile are nothing to tell */
	struct digest *digests;
	size_t n_digests, cap_digests;

	pthread_mutex_t lock;
	size_t next; /* protected by lock, like all below: the next digest to take */
	uint64_t n_checked, n_bytes;
	uint64_t n_damaged; /* or unreadable, or asked for and absent */
	struct progress progress;
	json_t *json; /* array of the damaged ones; NULL: print lines */
	int r;	      /* the first failure that ends it all */
};

struct worker {
	struct work work;
	struct verification *v;
};

static int add_digest(struct verification *v, const struct digest *d)
{
	if (v->n_digests == v->cap_digests) {
		size_t cap = v->cap_digests > 0 ? v->cap_digests * 2 : 256;
		struct digest *at = reallocarray(v->digests, cap, sizeof(*at));

		if (at == NULL)
			return -ENOMEM;
		v->digests = at;
		v->cap_digests = cap;
	}
	v->digests[v->n_digests++] = *d;
	return 0;
}

static int add_blob(void *arg, const struct digest *d, const struct stat *st)
{
	struct verification *v = arg;

	v->progress.total += (uint64_t)st->st_size;
	return add_digest(v, d);
}

static int add_json(struct verification *v, const struct digest *d, const char *why,
		    const struct scrub_result *res, int r, bool moved)
{
	json_t *o = json_object();
	int bad = json_out_digest(o, "digest", d);

	if (bad == 0)
		bad = json_out_text(o, "error", why);
	if (bad == 0 && r == -EBADMSG)
		bad = json_out_digest(o, "actual", &res->actual);
	if (bad == 0 && r == -EBADMSG)
		bad = json_out_size(o, "size", res->bytes);
	if (bad == 0 && v->quarantine)
		bad = json_object_set_new(o, "quarantined", json_boolean(moved));
	if (bad < 0) {
		json_decref(o);
		return -ENOMEM;
	}
	return json_array_append_new(v->json, o) < 0 ? -ENOMEM : 0;
}

static void report_locked(struct verification *v, const struct digest *d,
			  const struct scrub_result *res, int r)
{
	char why[256];
	bool moved = false;

	if (r == -EBADMSG)
		(void)snprintf(why, sizeof(why), "damaged: its %" PRIu64 " bytes hash to %s",
			       res->bytes, digest_text(&res->actual).s);
	else
		(void)snprintf(why, sizeof(why), "%s",
			       r == -ENOENT ? "blob not found" : err_describe(-r));
	v->n_damaged++;
	progress_done(&v->progress);
	/* An unreadable blob is set aside too; one for which memory was short is not. */
	if (v->quarantine && (r == -EBADMSG || r == -EIO)) {
		int q = scrub_quarantine(v->store, d, res);

		moved = q == 0;
		if (q < 0)
			(void)cli_fail(v->program, "quarantine", NULL, q);
	}
	if (v->json == NULL)
		printf("%s %s%s\n", digest_text(d).s, why, moved ? ", moved to quarantine" : "");
	else if (add_json(v, d, why, res, r, moved) < 0)
		v->r = -ENOMEM;
}

static void run(struct work *work)
{
	struct verification *v = ((struct worker *)work)->v;

	(void)pthread_mutex_lock(&v->lock);
	while (v->next < v->n_digests && v->r == 0) {
		struct digest d = v->digests[v->next++];
		struct scrub_result res;
		int r;

		(void)pthread_mutex_unlock(&v->lock);
		r = scrub_blob(v->store, &d, &res);
		(void)pthread_mutex_lock(&v->lock);
		v->n_checked++;
		v->n_bytes += res.bytes;
		progress_update(&v->progress, v->n_bytes);
		if (r < 0 && !(r == -ENOENT && v->all))
			report_locked(v, &d, &res, r);
	}
	(void)pthread_mutex_unlock(&v->lock);
}

static unsigned int n_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return CPU_COUNT(&set) > 64 ? 64 : (unsigned int)CPU_COUNT(&set);
}

static int run_all(struct verification *v)
{
	struct worker workers[64];
	struct workqueue *q;
	unsigned int n = n_cores();
	int r = workqueue_new(n, &q);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < n; i++) {
		workers[i] = (struct worker){.work = {.run = run}, .v = v};
		workqueue_add(q, &workers[i].work);
	}
	workqueue_free(q);
	progress_done(&v->progress);
	return v->r;
}

static int print_json(const struct cli_program *p, struct verification *v)
{
	json_t *o = json_object(), *damaged = steal_ptr(v->json);

	if (json_out_size(o, "checked", v->n_checked) < 0 ||
	    json_out_size(o, "bytes", v->n_bytes) < 0 ||
	    json_object_set(o, "damaged", damaged) < 0) {
		json_decref(o);
		o = NULL;
	}
	json_decref(damaged);
	return json_out_print(p, o);
}

/* All blobs, or those in argv. */
static int collect(struct verification *v, int argc, char **argv, struct err *err)
{
	struct digest d;
	int r = 0;

	v->all = argc == 0;
	if (v->all)
		return walk_blobs(v->store, add_blob, v);
	for (int i = 0; i < argc && r == 0; i++) {
		r = digest_parse(argv[i], &d, err);
		if (r == 0)
			r = add_digest(v, &d);
	}
	return r;
}

static int verify(const struct cli_program *p, struct verification *v, bool json, int argc,
		  char **argv)
{
	struct err err = {0};
	int r;

	progress_init(&v->progress, "verify", 0);
	r = collect(v, argc, argv, &err);
	if (r == 0 && json && (v->json = json_array()) == NULL)
		r = -ENOMEM;
	if (r == 0)
		r = run_all(v);
	if (r < 0)
		return cli_fail(p, "verify", &err, r);
	if (json && print_json(p, v) != CLI_OK)
		return CLI_FAILED;
	return v->n_damaged > 0 ? CLI_FAILED : CLI_OK;
}

int cmd_verify(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"quarantine", no_argument, NULL, 'q'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	cleanup(store_closep) struct store *s = NULL;
	struct verification v = {.program = p, .lock = PTHREAD_MUTEX_INITIALIZER};
	const char *root = root_default();
	bool json = false;
	int o, status;

	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'r')
			root = optarg;
		v.quarantine = v.quarantine || o == 'q';
		json = json || o == 'j';
	}
	if (root_open(p, root, v.quarantine ? 0 : STORE_RDONLY, &s) != CLI_OK)
		return CLI_FAILED;
	v.store = s;
	status = verify(p, &v, json, argc - optind, argv + optind);
	json_decref(v.json);
	free(v.digests);
	return status;
}
