/* contentfs-shim: flags, the beginning and the end. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "shim/keeper.h"
#include "shim/limits.h"
#include "shim/shim.h"
#include "shim/socket.h"

enum { DEFAULT_TIMEOUT_MS = 120 * 1000 };

struct options {
	uint64_t runtime_timeout_ms;
	bool help, version;
};

static void print_help(void)
{
	(void)fputs("usage: contentfs-shim [options]\n"
		    "\n"
		    "Look after one container, by an OCI runtime, for clients of shim.sock in the\n"
		    "working directory.\n"
		    "\n"
		    "  --runtime-timeout D  give a run of the runtime so long (default 2m)\n"
		    "  --debug              log each step\n"
		    "  -h, --help\n"
		    "  -v, --version\n",
		    stdout);
}

static int fail(const char *text)
{
	(void)fprintf(stderr, "contentfs-shim: %s\n", text);
	return EXIT_FAILURE;
}

static int parse_timeout(const char *s, struct options *o)
{
	uint64_t ns;

	if (clock_parse_duration(s, &ns) < 0 || ns < 1000000) {
		(void)fprintf(stderr, "contentfs-shim: --runtime-timeout %s: no duration\n", s);
		return -EINVAL;
	}
	o->runtime_timeout_ms = ns / 1000000;
	return 0;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"runtime-timeout", required_argument, NULL, 't'},
					      {"debug", no_argument, NULL, 'd'},
					      {"help", no_argument, NULL, 'h'},
					      {"version", no_argument, NULL, 'v'},
					      {0}};
	int opt;

	*o = (struct options){.runtime_timeout_ms = DEFAULT_TIMEOUT_MS};
	while ((opt = getopt_long(argc, argv, "hv", longs, NULL)) != -1) { /* NOLINT */
		if (opt == 't' && parse_timeout(optarg, o) < 0)
			return -EINVAL;
		if (opt == '?')
			return -EINVAL;
		if (opt == 'd')
			log_set_level(LOG_LEVEL_DEBUG);
		o->help = o->help || opt == 'h';
		o->version = o->version || opt == 'v';
	}
	if (optind == argc - 1 && strcmp(argv[optind], "help") == 0)
		o->help = true;
	else if (optind < argc)
		return fail("takes no arguments"), -EINVAL;
	return 0;
}

/* A shim lives long and does little: it gives back what it does not need. */
static void be_small(void)
{
	(void)mallopt(M_TOP_PAD, 0);		   /* NOLINT(concurrency-mt-unsafe): no threads */
	(void)mallopt(M_TRIM_THRESHOLD, 32 << 10); /* NOLINT(concurrency-mt-unsafe) */
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 10); /* NOLINT(concurrency-mt-unsafe) */
}

/* What the journal says is true again: from here on there are clients. */
static void serve(struct shim *s)
{
	const struct rpc_server_options o = {
		.loop = &s->loop.rpc, .methods = service_methods, .ctx = s};
	struct err err = {0};
	int r = rpc_server_new(&o, &s->server, &err);

	if (r == 0)
		r = socket_listen(&s->listen_fd, &err);
	if (r == 0 && (r = rpc_server_listen(s->server, s->listen_fd)) < 0)
		(void)err_errno(&err, -r, "listen");
	if (r < 0) {
		log_err("shim", "%s", err.msg);
		s->failed = true;
		loop_stop(&s->loop);
		return;
	}
	log_info("shim", "serves dir=\"%s\" pid=%d", s->dir, getpid());
}

static int begin(struct shim *s, struct err *err)
{
	int bad, r = reaper_init(s, err);

	if (r < 0)
		return r;
	bad = journal_open(&s->journal, s->dir_fd, shim_replay, s, err);
	if (bad < 0)
		return bad;
	if (bad > 0)
		log_warn("shim", "journal: %d lines could not be read", bad);
	takeover_begin(s, serve);
	return 0;
}

static int run(struct shim *s)
{
	struct err err = {0};
	int r = begin(s, &err);

	if (r < 0)
		return fail(err.msg);
	r = loop_run(&s->loop);
	if (r < 0)
		log_err("shim", "the loop has failed: %s", err_describe(-r));
	if (s->server != NULL)
		socket_remove();
	if (s->task.phase == TASK_NONE) {
		runtime_kill(&s->runtime);
		journal_remove(&s->journal);
	}
	return r < 0 || s->failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct shim s;
	struct options o;
	struct err err = {0};
	char *dir = NULL;
	int dir_fd = -1, status;

	if (argc == 2 && strcmp(argv[1], KEEPER_ARGUMENT) == 0)
		return keeper_run();
	log_init("contentfs-shim");
	if (parse(argc, argv, &o) < 0)
		return EXIT_FAILURE;
	if (o.help)
		print_help();
	if (o.version)
		(void)printf("contentfs-shim version %s\n", CONTENTFS_VERSION);
	if (o.help || o.version)
		return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	/* Whoever waits for the end of a pipe of our starter's would wait as long as we live. */
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	be_small();
	(void)setsid(); /* not to go with the terminal of whoever starts us */
	if (socket_take_dir(&dir, &dir_fd, &err) < 0)
		return fail(err.msg);
	/* Orphans of the container come to us, and so do the processes that a runtime leaves. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return fail("cannot become a subreaper");
	limits_raise();
	if (shim_init(&s, dir, dir_fd, o.runtime_timeout_ms) < 0)
		return fail("cannot make an epoll instance");
	status = run(&s);
	shim_done(&s);
	return status;
}
