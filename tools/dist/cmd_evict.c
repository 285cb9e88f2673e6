/* dist evict: what a mount's --cache-limit does, once and without a mount. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/root.h"
#include "oci/mediatype.h"
#include "store/evict.h"
#include "store/store_cleanup.h"

#define DEFAULT_GRACE_NS (300ULL * 1000000000)

/* Manifests tell what the blobs are that they name: small, and worth more than room. */
static bool keeps(void *arg, const struct label *l)
{
	(void)arg;
	return mediatype_is_manifest(l->mediatype) || mediatype_is_index(l->mediatype);
}

static void print(void *arg, const struct digest *d, uint64_t size)
{
	(void)arg;
	(void)size;
	printf("%s\n", digest_text(d).s);
}

static int evict(const struct cli_program *p, struct store *s, uint64_t grace_ns,
		 const struct evict_goal *goal)
{
	struct evict_config c = {
		.store = s, .grace_ns = grace_ns, .keeps = keeps, .evicted = print};
	struct evict_result result = {0};
	struct evict *e = NULL;
	char size[32];
	int r = evict_new(&c, &e);

	if (r == 0)
		r = evict_run(e, goal, &result);
	(void)evict_free(e);
	if (r < 0)
		return cli_fail(p, "evict", NULL, r);
	if (result.short_of_goal) {
		size_format(result.cache_bytes, size, sizeof(size));
		log_warn("evict", "%s are left: open, or used a moment ago (--grace)", size);
	}
	return CLI_OK;
}

int cmd_evict(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"to", required_argument, NULL, 't'},
					      {"grace", required_argument, NULL, 'g'},
					      {"dry-run", no_argument, NULL, 'n'},
					      {0}};
	cleanup(store_closep) struct store *s = NULL;
	struct evict_goal goal = {0};
	uint64_t grace_ns = DEFAULT_GRACE_NS;
	const char *root = root_default();
	bool has_size = false;
	int o, status;

	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'r')
			root = optarg;
		if (o == 't' && size_parse(optarg, &goal.limit_bytes) < 0)
			return cli_usage_error(p, "invalid size \"%.100s\": want e.g. 20G", optarg);
		if (o == 'g' && clock_parse_duration(optarg, &grace_ns) < 0)
			return cli_usage_error(p, "invalid duration \"%.100s\": want e.g. 30s, 5m",
					       optarg);
		has_size = has_size || o == 't';
		goal.dry_run = goal.dry_run || o == 'n';
	}
	if (!has_size || optind < argc)
		return cli_usage_error(p, "evict takes --to SIZE and no arguments");
	if (root_open(p, root, goal.dry_run ? STORE_RDONLY : 0, &s) != CLI_OK)
		return CLI_FAILED;
	goal.low_bytes = goal.limit_bytes;
	return evict(p, s, grace_ns, &goal);
}
