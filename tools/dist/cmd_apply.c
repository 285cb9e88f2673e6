/* dist apply: layers onto a directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/size.h"
#include "cli/cli.h"
#include "dist/dist.h"
#include "dist/root.h"
#include "store/blob.h"
#include "store/store_cleanup.h"
#include "unpack/unpack.h"

#define MAX_EXPECTED 256

struct application {
	const char *root;
	struct store *store; /* opened when the first digest is named */
	int dir_fd;
	struct unpack_options options;
	bool print;
	struct digest expected[MAX_EXPECTED]; /* diffIDs, in the order of the layers */
	int n_expected;
	int n_done;
};

static void warn(void *arg, const char *text)
{
	(void)arg;
	log_warn("apply", "%s", text);
}

static int open_dir(const struct cli_program *p, struct application *a, const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return cli_fail(p, path, NULL, -errno);
	a->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return a->dir_fd < 0 ? cli_fail(p, path, NULL, -errno) : CLI_OK;
}

static int check(const struct application *a, const struct unpack_result *result,
		 const struct digest *blob, struct err *err)
{
	const struct digest *want = a->n_expected > 0 ? &a->expected[a->n_done] : NULL;

	if (blob != NULL && !digest_equal(blob, &result->digest))
		return err_set(err, EBADMSG, "the blob is damaged: its bytes are %s",
			       digest_text(&result->digest).s);
	if (want != NULL && !digest_equal(want, &result->diff_id))
		return err_set(err, EBADMSG, "unexpected diffID: %s != %s",
			       digest_text(&result->diff_id).s, digest_text(want).s);
	return 0;
}

/* One layer from fd; blob: what its bytes must hash to, or NULL. */
static int apply_fd(struct application *a, int fd, const struct digest *blob, struct err *err)
{
	struct unpack_result result;
	struct unpack_source src;
	struct unpack_fd f;
	int r = unpack_fd_open(&f, fd);

	if (r < 0)
		return err_errno(err, -r, "eventfd");
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	src = unpack_fd_source(&f);
	r = unpack_layer(a->dir_fd, &src, &a->options, &result, err);
	unpack_fd_close(&f);
	if (r == 0)
		r = check(a, &result, blob, err);
	if (r < 0)
		return r;
	a->n_done++;
	log_debug("apply", "%llu entries, %s, %llu bytes, unpacked %llu, diffID %s",
		  (unsigned long long)result.n_entries, unpack_format_name(result.format),
		  (unsigned long long)result.size, (unsigned long long)result.diff_size,
		  digest_text(&result.diff_id).s);
	if (a->print)
		printf("%s\n", digest_text(&result.diff_id).s);
	return 0;
}

static int apply_blob(const struct cli_program *p, struct application *a, const char *name,
		      const struct digest *d)
{
	cleanup_fd int fd = -1;
	struct err err = {0};
	int r;

	if (a->store == NULL && root_open(p, a->root, STORE_RDONLY, &a->store) != CLI_OK)
		return CLI_FAILED;
	fd = blob_open(a->store, d);
	if (fd < 0)
		return fd == -ENOENT ? cli_usage_error(p, "%s: blob not found", name)
				     : cli_fail(p, name, NULL, fd);
	r = apply_fd(a, fd, d, &err);
	return r < 0 ? cli_fail(p, name, &err, r) : CLI_OK;
}

/* FILE or DIGEST; "-": standard input. A file whose name looks like a digest: "./sha256:...". */
static int apply_named(const struct cli_program *p, struct application *a, const char *name)
{
	cleanup_fd int fd = -1;
	struct err err = {0};
	struct digest d;
	int r;

	if (digest_parse(name, &d, NULL) == 0)
		return apply_blob(p, a, name, &d);
	if (strcmp(name, "-") != 0) {
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return cli_fail(p, name, NULL, -errno);
	}
	r = apply_fd(a, fd < 0 ? STDIN_FILENO : fd, NULL, &err);
	return r < 0 ? cli_fail(p, fd < 0 ? NULL : name, &err, r) : CLI_OK;
}

static int take_option(const struct cli_program *p, struct application *a, int o)
{
	struct err err = {0};
	uint64_t n;
	int r;

	switch (o) {
	case 'r':
		a->root = optarg;
		return CLI_OK;
	case 'l':
		a->options.rootless = true;
		return CLI_OK;
	case 'p':
		a->print = true;
		return CLI_OK;
	case 'e':
		if (a->n_expected == MAX_EXPECTED)
			return cli_usage_error(p, "more than %d diffIDs", MAX_EXPECTED);
		r = digest_parse(optarg, &a->expected[a->n_expected++], &err);
		return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
	default:
		if (size_parse(optarg, &n) < 0 || n == 0 || n > SIZE_MAX)
			return cli_usage_error(p, "invalid size \"%.100s\"", optarg);
		if (o == 's')
			a->options.max_bytes = n;
		else
			a->options.max_window = (size_t)n;
		return CLI_OK;
	}
}

static int apply_all(const struct cli_program *p, struct application *a, int n, char **names)
{
	static char stdin_name[] = "-";
	char *only[] = {stdin_name};
	int status = CLI_OK;

	if (n == 0) {
		names = only;
		n = 1;
	}
	if (a->n_expected > 0 && a->n_expected != n)
		return cli_usage_error(p, "%d layers, but %d times --expected-diff-id", n,
				       a->n_expected);
	for (int i = 0; status == CLI_OK && i < n; i++)
		status = apply_named(p, a, names[i]);
	return status;
}

int cmd_apply(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"rootless", no_argument, NULL, 'l'},
					      {"max-size", required_argument, NULL, 's'},
					      {"max-window", required_argument, NULL, 'w'},
					      {"print-diff-id", no_argument, NULL, 'p'},
					      {"expected-diff-id", required_argument, NULL, 'e'},
					      {0}};
	struct application a = {.root = root_default(), .dir_fd = -1, .options.warn = warn};
	int o, status;

	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (take_option(p, &a, o) != CLI_OK)
			return CLI_FAILED;
	}
	if (optind == argc || argv[optind][0] == '\0')
		return cli_usage_error(p, "please specify a directory to apply to");
	if (open_dir(p, &a, argv[optind]) != CLI_OK)
		return CLI_FAILED;
	status = apply_all(p, &a, argc - optind - 1, argv + optind + 1);
	(void)close(a.dir_fd);
	(void)store_close(a.store);
	return status;
}
