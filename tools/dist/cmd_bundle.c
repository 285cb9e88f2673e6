/* dist bundle: an image, of the store or fetched meanwhile, becomes a directory that a runtime
 * runs. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/size.h"
#include "cli/cli.h"
#include "dist/bundle.h"
#include "dist/dist.h"
#include "dist/image_source.h"
#include "dist/image_unpack.h"

struct bundle_command {
	const char *image, *dir;
	struct image_source_options from;
	struct bundle_options options;
	uint64_t max_bytes;
};

static void warn(void *arg, const char *text)
{
	(void)arg;
	log_warn("bundle", "%s", text);
}

static int fill(const struct bundle_command *c, struct image_source *s, int dir_fd, struct err *err)
{
	cleanup_fd int root_fd = -1;
	struct image_unpack u = {
		.image = &s->image,
		.source = &s->source,
		.options = {.rootless = c->options.rootless,
			    .max_bytes = c->max_bytes,
			    .warn = warn},
	};
	int r;

	if (mkdirat(dir_fd, "rootfs", 0755) < 0)
		return err_errno(err, errno, "make directory \"rootfs\"");
	root_fd = openat(dir_fd, "rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_errno(err, errno, "rootfs");
	r = image_unpack(&u, root_fd, err);
	if (r == 0)
		r = bundle_finish(dir_fd, s->image.config, &c->options, err);
	return r == 0 ? image_source_finish(s, err) : r;
}

/* 0700: programs that are setuid in a root filesystem are nothing for the users of this machine. */
static int bundle(const struct bundle_command *c, struct err *err)
{
	cleanup_fd int dir_fd = -1;
	struct image_source s;
	bool made = false;
	int r = image_source_open(&c->from, c->image, &s, err);

	if (r < 0)
		return r;
	image_source_hold(&s);
	r = dir_fd = unpack_dir_open(c->dir, 0700, &made, err);
	if (r >= 0) {
		r = fill(c, &s, dir_fd, err);
		if (r < 0)
			unpack_dir_undo(c->dir, made);
	}
	image_source_close(&s);
	return r;
}

int cmd_bundle(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {IMAGE_SOURCE_OPTIONS,
					      {"rootless", no_argument, NULL, 'l'},
					      {"tty", no_argument, NULL, 't'},
					      {"max-size", required_argument, NULL, 'm'},
					      {0}};
	struct bundle_command c = {.options = {.warn = warn}};
	struct err err = {0};
	int o, r, status;

	if (image_source_options_init(p, &c.from) != CLI_OK)
		return CLI_FAILED;
	while ((o = cli_getopt(p, argc, argv, "t", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (image_source_option(p, &c.from, o) != CLI_OK)
			return CLI_FAILED;
		if (o == 'm' && size_parse(optarg, &c.max_bytes) < 0)
			return cli_usage_error(p, "invalid --max-size \"%s\"", optarg);
		c.options.rootless = c.options.rootless || o == 'l';
		c.options.terminal = c.options.terminal || o == 't';
	}
	if (argc - optind < 2)
		return cli_usage_error(p, "please specify an image and a directory");
	c.image = argv[optind];
	c.dir = argv[optind + 1];
	c.options.args = argv + optind + 2;
	r = bundle(&c, &err);
	return r < 0 ? cli_fail(p, c.image, &err, r) : CLI_OK;
}
