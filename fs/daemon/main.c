/* contentfs: the only place that knows everything. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/background.h"
#include "daemon/cache.h"
#include "daemon/config.h"
#include "fill/fill.h"
#include "mount/mount.h"
#include "registry/client.h"

struct daemon {
	struct config config;
	char *mountpoint; /* absolute: a daemon has left the directory that it was started in */
	struct store *store;
	struct registry *registry;
	struct fill *fill;   /* NULL: local blobs only */
	struct cache *cache; /* NULL: it may grow for ever */
	struct mount *mount;
};

static int fail(const char *what, const struct err *err, int r)
{
	(void)fprintf(stderr, "contentfs: %s%s%s\n", what, what[0] != '\0' ? ": " : "",
		      err_text(err, r));
	return EXIT_FAILURE;
}

static int print_status(const char *mountpoint)
{
	char text[65536];
	ssize_t n = getxattr(mountpoint, MOUNT_STATUS_XATTR, text, sizeof(text));

	if (n < 0 && (errno == ENODATA || errno == EOPNOTSUPP)) {
		(void)fprintf(stderr, "contentfs: %s: no mounted store\n", mountpoint);
		return EXIT_FAILURE;
	}
	if (n < 0) {
		(void)fprintf(stderr, "contentfs: %s: %s\n", mountpoint, err_describe(errno));
		return EXIT_FAILURE;
	}
	return fwrite(text, 1, (size_t)n, stdout) == (size_t)n && fflush(stdout) == 0
		       ? EXIT_SUCCESS
		       : EXIT_FAILURE;
}

/* One descriptor for each open blob: as many as we may have. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void ready(void *arg)
{
	struct daemon *d = arg;

	background_ready();
	log_info("mount", "root=\"%s\" mountpoint=\"%s\" reads=%s", store_root(d->store),
		 d->mountpoint, mount_read_mode(d->mount));
}

/* Blobs that are not local: from the sources given, and from those that labels name. */
static int start_fill(struct daemon *d, struct err *err)
{
	const struct registry_config registry = {
		.hosts_dir = d->config.hosts_dir,
		.auth_file = d->config.auth_file,
		.credentials = d->config.credentials,
		.connect_ms = d->config.host_timeout_ms,
		.stall_ms = d->config.host_timeout_ms,
		.debug = d->config.debug,
	};
	struct fill_config fill = {
		.store = d->store,
		.verify = d->config.verify_at_eof ? FILL_VERIFY_AT_EOF : FILL_VERIFY_STRICT,
		.read_ms = d->config.read_timeout_ms,
		.background_bps = d->config.background_bps,
		.scan = true,
	};
	int r = registry_new(&registry, &d->registry, err);

	fill.registry = d->registry;
	if (r == 0)
		r = fill_new(&fill, &d->fill, err);
	for (size_t i = 0; i < d->config.n_sources && r == 0; i++) {
		r = fill_add_source(d->fill, d->config.sources[i], err);
		if (r < 0)
			r = err_wrap(err, r, "--source %s", d->config.sources[i]);
	}
	return r;
}

static int new_cache(struct daemon *d, struct err *err)
{
	const struct cache_config cache = {
		.store = d->store,
		.source = fill_source(d->fill),
		.limit_bytes = d->config.cache_bytes,
		.grace_ns = d->config.cache_grace_ns,
	};

	return cache.limit_bytes > 0 ? cache_new(&cache, &d->cache, err) : 0;
}

static void grows(void *arg)
{
	cache_grows(arg);
}

static int more_status(void *arg, struct buf *out)
{
	const struct daemon *d = arg;
	struct registry_stats net;
	struct fill_stats fill;
	int r = d->cache != NULL ? cache_status(d->cache, out) : 0;

	if (r < 0)
		return r;
	registry_stats(d->registry, &net);
	fill_stats(d->fill, &fill);
	return buf_printf(out,
			  "fills_active %u\nfills_started %llu\nfills_completed %llu\n"
			  "fills_failed %llu\nfills_followed %llu\nfill_mismatches %llu\n"
			  "bytes_fetched %llu\nbytes_resumed %llu\nhttp_requests %llu\n"
			  "http_retries %llu\nhttp_failovers %llu\nhttp_bytes_in %llu\n",
			  fill.active, (unsigned long long)fill.started,
			  (unsigned long long)fill.completed, (unsigned long long)fill.failed,
			  (unsigned long long)fill.followed, (unsigned long long)fill.mismatches,
			  (unsigned long long)fill.bytes_fetched,
			  (unsigned long long)fill.bytes_resumed,
			  (unsigned long long)net.http_requests, (unsigned long long)net.retries,
			  (unsigned long long)net.failovers, (unsigned long long)net.bytes_in);
}

static int serve(struct daemon *d)
{
	struct mount_config config = {
		.store = d->store,
		.source = fill_source(d->fill),
		.passthrough = d->config.passthrough,
		.read_only = d->config.read_only,
		.debug = d->config.debug,
		.options = d->config.options,
		.ready = ready,
		.ready_arg = d,
		.more_status = more_status,
		.more_status_arg = d,
	};
	struct err err;
	int r = new_cache(d, &err);

	if (d->cache != NULL) {
		config.grows = grows;
		config.grows_arg = d->cache;
	}
	if (r == 0)
		r = mount_new(&config, &d->mount, &err);
	if (r == 0)
		r = mount_attach(d->mount, d->mountpoint, &err);
	if (r == 0 && d->cache != NULL)
		r = cache_start(d->cache, d->mount, &err);
	if (r < 0)
		return fail("", &err, r);
	r = mount_run(d->mount, /* handle_signals= */ true);
	if (r < 0)
		log_err("mount", "session ended: %s", err_describe(-r));
	else
		log_info("mount", "ended mountpoint=\"%s\"", d->mountpoint);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* One on top of the other would serve nobody, and stay when the first umount has taken this one. */
static bool is_mounted(const char *mountpoint)
{
	return getxattr(mountpoint, MOUNT_STATUS_XATTR, NULL, 0) >= 0;
}

static int run(struct daemon *d)
{
	struct err err;
	int status, r;

	if (mount_detach_dead(d->config.mountpoint))
		log_warn("mount", "a dead mount was on \"%s\", taken away", d->config.mountpoint);
	if (is_mounted(d->config.mountpoint)) {
		r = err_set(&err, EBUSY, "mount point %s: a store is mounted there already",
			    d->config.mountpoint);
		return fail("", &err, r);
	}
	d->mountpoint = realpath(d->config.mountpoint, NULL);
	if (d->mountpoint == NULL) {
		(void)err_errno(&err, errno, "mount point %s", d->config.mountpoint);
		return fail("", &err, -err.code);
	}
	r = background_start(d->config.foreground);
	if (r < 0)
		return fail("go to the background", NULL, r);
	raise_descriptor_limit();
	r = store_open(d->config.root, STORE_CREATE, &d->store, &err);
	if (r < 0)
		return fail("", &err, r);
	r = start_fill(d, &err);
	status = r < 0 ? fail("", &err, r) : serve(d);
	/* Who waits is answered while there is a session to answer through. */
	if (d->fill != NULL)
		fill_stop(d->fill);
	if (d->cache != NULL)
		cache_stop(d->cache);
	d->mount = mount_free(d->mount);
	d->cache = cache_free(d->cache);
	d->fill = fill_free(d->fill);
	d->registry = registry_free(d->registry);
	d->store = store_close(d->store);
	free(d->mountpoint);
	return status;
}

int main(int argc, char **argv)
{
	static struct daemon d;

	log_init("contentfs");
	if (config_parse(argc, argv, &d.config) < 0)
		return EXIT_FAILURE;
	if (d.config.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	switch (d.config.action) {
	case CONFIG_HELP:
		config_print_help();
		break;
	case CONFIG_VERSION:
		(void)printf("contentfs version %s\n", CONTENTFS_VERSION);
		break;
	case CONFIG_STATUS:
		return print_status(d.config.mountpoint);
	case CONFIG_MOUNT:
		return run(&d);
	}
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
