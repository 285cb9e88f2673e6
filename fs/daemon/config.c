#include "daemon/config.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"

#define DEFAULT_READ_TIMEOUT_MS 60000
#define DEFAULT_CACHE_GRACE_NS (300ULL * 1000000000)

enum {
	OPT_SOURCE = 256,
	OPT_VERIFY,
	OPT_STATUS,
	OPT_NO_PASSTHROUGH,
	OPT_READ_TIMEOUT,
	OPT_HOST_TIMEOUT,
	OPT_BACKGROUND_RATE,
	OPT_CACHE_LIMIT,
	OPT_CACHE_GRACE,
	OPT_HOSTS_DIR,
	OPT_AUTH_FILE,
	OPT_CREDS,
};

static const struct option longs[] = {
	{"source", required_argument, NULL, OPT_SOURCE},
	{"verify", required_argument, NULL, OPT_VERIFY},
	{"read-timeout", required_argument, NULL, OPT_READ_TIMEOUT},
	{"host-timeout", required_argument, NULL, OPT_HOST_TIMEOUT},
	{"background-rate", required_argument, NULL, OPT_BACKGROUND_RATE},
	{"cache-limit", required_argument, NULL, OPT_CACHE_LIMIT},
	{"cache-grace", required_argument, NULL, OPT_CACHE_GRACE},
	{"hosts-dir", required_argument, NULL, OPT_HOSTS_DIR},
	{"auth-file", required_argument, NULL, OPT_AUTH_FILE},
	{"creds", required_argument, NULL, OPT_CREDS},
	{"no-passthrough", no_argument, NULL, OPT_NO_PASSTHROUGH},
	{"status", no_argument, NULL, OPT_STATUS},
	{"foreground", no_argument, NULL, 'f'},
	{"debug", no_argument, NULL, 'd'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

void config_print_help(void)
{
	(void)printf(
		"usage: contentfs [options] ROOT MOUNTPOINT\n"
		"       contentfs --status MOUNTPOINT\n"
		"\n"
		"Mount the content store in directory ROOT (made when absent) on MOUNTPOINT:\n"
		"  blobs/sha256/<hex>   read-only blobs, fetched on first read where a source has "
		"them\n"
		"  ingest/<ref>         write a file here; close() verifies and commits it\n"
		"  active               what is in progress\n"
		"\n"
		"Options:\n"
		"  --source HOST/REPOSITORY  fetch blobs that are not local from here "
		"(repeatable;\n"
		"                            plain http for localhost)\n"
		"  --verify strict|at-eof    strict (default): no byte before it is verified; "
		"at-eof: a\n"
		"                            sequential reader overlaps with the download, the "
		"tail waits\n"
		"  --read-timeout DURATION   deadline of a read that must fetch (default 60s)\n"
		"  --host-timeout DURATION   a host that is silent for so long is given up for the "
		"next\n"
		"                            one (default 10s)\n"
		"  --background-rate SIZE    bytes per second of fetches that nobody waits for "
		"(default:\n"
		"                            no cap)\n"
		"  --cache-limit SIZE        evict what was fetched, least recently used first, "
		"when there\n"
		"                            is more of it (default: no limit)\n"
		"  --cache-grace DURATION    ... but nothing that was used in the last DURATION "
		"(5m)\n"
		"  --hosts-dir DIR[:DIR]     containerd's certs.d (default "
		"/etc/containerd/certs.d,\n"
		"                            /etc/docker/certs.d)\n"
		"  --auth-file FILE          docker's config.json, for credentials (default: where "
		"docker\n"
		"                            looks)\n"
		"  --creds USER[:PASSWORD]   credentials for every registry of --source\n"
		"  --no-passthrough          read through the page cache even where the kernel "
		"could\n"
		"                            read the backing files directly\n"
		"  -o OPTION[,OPTION...]     mount options: ro, allow_other, ...\n"
		"  -f, --foreground          stay in front, log to stderr\n"
		"  -d, --debug               debug log, print every request (implies -f)\n"
		"  --status                  tell how a mounted store does\n"
		"  -h, --help                this help\n"
		"  -V, --version             print the version\n"
		"\n"
		"Unmount with fusermount3 -u MOUNTPOINT, umount, or SIGTERM.\n");
}

__attribute__((format(printf, 1, 2))) static int wrong(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("contentfs: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputs(" (see contentfs --help)\n", stderr);
	return -EINVAL;
}

static bool has_option(const char *list, const char *name)
{
	size_t n = strlen(name);

	while (list != NULL) {
		if (strncmp(list, name, n) == 0 && (list[n] == '\0' || list[n] == ','))
			return true;
		list = strchr(list, ',');
		list = list != NULL ? list + 1 : NULL;
	}
	return false;
}

static int add_options(struct config *c, const char *list)
{
	size_t n = strlen(c->options);
	int r = snprintf(c->options + n, sizeof(c->options) - n, "%s%s", n > 0 ? "," : "", list);

	if (r < 0 || (size_t)r >= sizeof(c->options) - n)
		return wrong("-o: too many mount options");
	if (has_option(list, "ro"))
		c->read_only = true;
	return 0;
}

static int take_timeout(const char *name, const char *arg, uint64_t *ret_ms)
{
	uint64_t ns;

	if (clock_parse_duration(arg, &ns) < 0 || ns < 1000000)
		return wrong("%s: \"%s\" is no duration such as 30s or 2m", name, arg);
	*ret_ms = ns / 1000000;
	return 0;
}

static int take_option(struct config *c, int o, const char *arg)
{
	switch (o) {
	case OPT_SOURCE:
		if (c->n_sources == CONFIG_SOURCES_MAX)
			return wrong("--source: at most %d", CONFIG_SOURCES_MAX);
		c->sources[c->n_sources++] = arg;
		return 0;
	case OPT_VERIFY:
		if (strcmp(arg, "strict") != 0 && strcmp(arg, "at-eof") != 0)
			return wrong("--verify: \"%s\" is neither strict nor at-eof", arg);
		c->verify_at_eof = strcmp(arg, "at-eof") == 0;
		return 0;
	case OPT_READ_TIMEOUT:
		return take_timeout("--read-timeout", arg, &c->read_timeout_ms);
	case OPT_HOST_TIMEOUT:
		return take_timeout("--host-timeout", arg, &c->host_timeout_ms);
	case OPT_BACKGROUND_RATE:
		if (size_parse(arg, &c->background_bps) < 0 || c->background_bps == 0)
			return wrong("--background-rate: \"%s\" is no size such as 10M", arg);
		return 0;
	case OPT_CACHE_LIMIT:
		if (size_parse(arg, &c->cache_bytes) < 0 || c->cache_bytes == 0)
			return wrong("--cache-limit: \"%s\" is no size such as 20G", arg);
		return 0;
	case OPT_CACHE_GRACE:
		if (clock_parse_duration(arg, &c->cache_grace_ns) < 0)
			return wrong("--cache-grace: \"%s\" is no duration such as 30s or 2m", arg);
		return 0;
	case OPT_HOSTS_DIR:
		c->hosts_dir = arg;
		return 0;
	case OPT_AUTH_FILE:
		c->auth_file = arg;
		return 0;
	case OPT_CREDS:
		c->credentials = arg;
		return 0;
	case OPT_NO_PASSTHROUGH:
		c->passthrough = false;
		return 0;
	case OPT_STATUS:
		c->action = CONFIG_STATUS;
		return 0;
	case 'o':
		return add_options(c, arg);
	case 'f':
		c->foreground = true;
		return 0;
	case 'd':
		c->debug = c->foreground = true;
		return 0;
	case 'h':
		c->action = CONFIG_HELP;
		return 0;
	case 'V':
		c->action = CONFIG_VERSION;
		return 0;
	default:
		return -EINVAL; /* getopt_long has said why */
	}
}

static int take_arguments(struct config *c, int argc, char **argv)
{
	switch (c->action) {
	case CONFIG_STATUS:
		if (argc != 1)
			return wrong("--status takes one MOUNTPOINT");
		c->mountpoint = argv[0];
		return 0;
	case CONFIG_MOUNT:
		if (argc < 2)
			return wrong("ROOT and MOUNTPOINT are needed");
		if (argc > 2)
			return wrong("unexpected argument \"%s\"", argv[2]);
		if (c->cache_bytes > 0 && c->read_only)
			return wrong("--cache-limit: a mount that is read-only evicts nothing");
		c->root = argv[0];
		c->mountpoint = argv[1];
		return 0;
	case CONFIG_HELP:
	case CONFIG_VERSION:
		break;
	}
	return 0;
}

int config_parse(int argc, char **argv, struct config *ret)
{
	struct config c = {.action = CONFIG_MOUNT,
			   .passthrough = true,
			   .read_timeout_ms = DEFAULT_READ_TIMEOUT_MS,
			   .cache_grace_ns = DEFAULT_CACHE_GRACE_NS};
	int o;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread */
	while ((o = getopt_long(argc, argv, "o:fdhV", longs, NULL)) != -1) {
		int r = take_option(&c, o, optarg);

		if (r < 0)
			return r;
	}
	if (take_arguments(&c, argc - optind, argv + optind) < 0)
		return -EINVAL;
	*ret = c;
	return 0;
}
