/* dist bundle: an image of the store becomes a directory that a runtime runs. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/size.h"
#include "cli/cli.h"
#include "dist/bundle.h"
#include "dist/dist.h"
#include "dist/image_unpack.h"
#include "dist/root.h"
#include "store/store_cleanup.h"

struct bundle_command {
	const char *root, *platform, *image, *dir;
	struct bundle_options options;
	uint64_t max_bytes;
};

static void warn(void *arg, const char *text)
{
	(void)arg;
	log_warn("bundle", "%s", text);
}

static int fill(const struct bundle_command *c, const struct image *im, struct store *s, int dir_fd,
		struct err *err)
{
	cleanup_fd int root_fd = -1;
	struct store_layers layers;
	struct image_unpack u = {
		.image = im,
		.source = &layers.source,
		.options = {.rootless = c->options.rootless,
			    .max_bytes = c->max_bytes,
			    .warn = warn},
	};
	int r;

	store_layers_init(&layers, s);
	if (mkdirat(dir_fd, "rootfs", 0755) < 0)
		return err_errno(err, errno, "make directory \"rootfs\"");
	root_fd = openat(dir_fd, "rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_errno(err, errno, "rootfs");
	r = image_unpack(&u, root_fd, err);
	return r == 0 ? bundle_finish(dir_fd, im->config, &c->options, err) : r;
}

/* 0700: programs that are setuid in a root filesystem are nothing for the users of this machine. */
static int bundle(const struct bundle_command *c, struct store *s, struct err *err)
{
	cleanup_fd int dir_fd = -1;
	struct image im = {0};
	struct platform want;
	bool made = false;
	int r = image_platform(c->platform, &want, err);

	if (r == 0)
		r = image_open(s, c->image, &want, &im, err);
	if (r == 0)
		r = image_load_config(s, &im, err);
	if (r == 0)
		r = dir_fd = unpack_dir_open(c->dir, 0700, &made, err);
	if (r >= 0) {
		r = fill(c, &im, s, dir_fd, err);
		if (r < 0)
			unpack_dir_undo(c->dir, made);
	}
	image_close(&im);
	return r;
}

int cmd_bundle(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"platform", required_argument, NULL, 'P'},
					      {"rootless", no_argument, NULL, 'l'},
					      {"tty", no_argument, NULL, 't'},
					      {"max-size", required_argument, NULL, 'm'},
					      {0}};
	struct bundle_command c = {.root = root_default(), .options = {.warn = warn}};
	cleanup(store_closep) struct store *s = NULL;
	struct err err = {0};
	int o, r, status;

	while ((o = cli_getopt(p, argc, argv, "t", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'r')
			c.root = optarg;
		if (o == 'P')
			c.platform = optarg;
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
	if (root_open(p, c.root, STORE_RDONLY, &s) != CLI_OK)
		return CLI_FAILED;
	r = bundle(&c, s, &err);
	return r < 0 ? cli_fail(p, c.image, &err, r) : CLI_OK;
}
