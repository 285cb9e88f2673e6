/*
 * dist ingest: standard input into the store.
 *
 * SIGINT, SIGTERM, SIGHUP end it between two reads and keep what was written: the ref can be
 * resumed. They are read by signalfd, so that there is no moment at which one is missed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/size.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "dist/dist.h"
#include "dist/root.h"
#include "store/blob.h"
#include "store/label.h"
#include "store/store_cleanup.h"

#define COPY_BYTES ((size_t)1 << 20)
#define MAX_BACKOFF_MS 1000

struct ingestion {
	const char *root;
	char key[INGEST_REF_MAX + 2];
	uint64_t expected_size; /* 0: unknown */
	bool has_expected;
	struct digest expected;
	bool resume;
	uint64_t wait_ms;     /* for a busy key */
	uint64_t deadline_ms; /* monotonic; 0: none */
	int signal_fd;
	int signal; /* the one that ended it, or 0 */
};

/* Those that would end us and are not ignored (nohup, a background job) come by descriptor. */
static int catch_signals(struct ingestion *in)
{
	static const int ours[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa;
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (sigaction(ours[i], NULL, &sa) == 0 && sa.sa_handler != SIG_IGN)
			(void)sigaddset(&set, ours[i]);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	in->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return in->signal_fd < 0 ? -errno : 0;
}

/*
 * Wait for input on fd (-1: for none), at most max_ms (-1: for ever). 1: there is some; 0: max_ms
 * have passed; -EINTR: a signal; -ETIMEDOUT: --timeout.
 */
static int wait_for(struct ingestion *in, int fd, int max_ms)
{
	struct pollfd p[] = {{.fd = in->signal_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	struct signalfd_siginfo info;
	bool by_deadline = false;
	int n;

	if (in->deadline_ms > 0) {
		uint64_t now = clock_mono_ms();
		uint64_t left = in->deadline_ms > now ? in->deadline_ms - now : 0;

		if (max_ms < 0 || left < (uint64_t)max_ms) {
			max_ms = left > 3600000 ? 3600000 : (int)left;
			by_deadline = left <= 3600000;
		}
	}
	n = poll(p, 2, max_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (p[0].revents != 0 && read(in->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		in->signal = (int)info.ssi_signo;
		return -EINTR;
	}
	if (n == 0)
		return by_deadline ? -ETIMEDOUT : 0;
	return p[1].revents != 0;
}

static int copy_stdin(struct ingestion *in, struct ingest *i, uint64_t offset, struct err *err)
{
	cleanup_free char *buf = malloc(COPY_BYTES);
	struct progress progress;
	struct stat st;
	uint64_t total = in->expected_size;
	int r = 0;

	if (buf == NULL)
		return err_set(err, ENOMEM, "out of memory");
	if (total == 0 && fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		total = offset + (uint64_t)st.st_size;
	(void)fcntl(STDIN_FILENO, F_SETPIPE_SZ, (int)COPY_BYTES); /* fewer wake-ups, if it may be */
	progress_init(&progress, in->key, total);
	while (r >= 0) {
		ssize_t n;

		r = wait_for(in, STDIN_FILENO, -1);
		if (r <= 0)
			continue;
		n = read(STDIN_FILENO, buf, COPY_BYTES);
		if (n == 0)
			break;
		if (n < 0) {
			if (errno != EINTR && errno != EAGAIN)
				r = err_errno(err, errno, "read standard input");
			continue;
		}
		r = ingest_write(i, buf, (size_t)n, offset);
		if (r < 0)
			(void)err_errno(err, -r, "write");
		else
			offset += (uint64_t)n;
		progress_update(&progress, offset);
	}
	progress_done(&progress);
	return r < 0 ? r : 0;
}

/* Whether there is nothing to do; what somebody ingests is theirs, whoever fetched it before. */
static bool is_here(struct store *s, const struct digest *d)
{
	return blob_exists(s, d) && label_claim(s, d) == 0 && blob_exists(s, d);
}

/* ingest_open(), waiting for somebody else to finish as long as --wait says. */
static int open_waiting(struct ingestion *in, struct store *s, struct ingest **ret, struct err *err)
{
	unsigned int flags = INGEST_CREATE | (in->resume ? 0 : INGEST_TRUNCATE);
	uint64_t end_ms = clock_mono_ms() + in->wait_ms;
	int backoff_ms = 16;

	for (;;) {
		int r = ingest_open(s, in->key, flags, ret, err);
		uint64_t now = clock_mono_ms();

		if (r != -EBUSY || now >= end_ms)
			return r;
		/* Its writer may be at the very blob that we are asked for. */
		if (in->has_expected && is_here(s, &in->expected))
			return -EEXIST;
		r = wait_for(in, -1,
			     end_ms - now < (uint64_t)backoff_ms ? (int)(end_ms - now)
								 : backoff_ms);
		if (r < 0)
			return r;
		backoff_ms = backoff_ms * 2 > MAX_BACKOFF_MS ? MAX_BACKOFF_MS : backoff_ms * 2;
	}
}

/* What stands in the side files is somebody else's idea unless we resume theirs. */
static int set_expectations(struct ingestion *in, struct ingest *i, struct err *err)
{
	struct digest now;
	int r = 0;

	if ((in->expected_size > 0 || !in->resume) && ingest_total(i) != in->expected_size)
		r = ingest_set_total(i, in->expected_size, err);
	if (r < 0)
		return r;
	if (in->has_expected) {
		if (!ingest_expected(i, &now) || !digest_equal(&now, &in->expected))
			r = ingest_set_expected(i, &in->expected, err);
	} else if (!in->resume) {
		r = ingest_set_expected(i, NULL, err);
	}
	return r;
}

static int already_exists(const struct digest *d)
{
	(void)fprintf(stderr, "content with digest %s already exists\n", digest_text(d).s);
	return CLI_OK;
}

/* The reference's texts for bytes that are not what was expected stand alone on their line. */
static int fail(const struct cli_program *p, const struct ingestion *in, struct err *err, int r)
{
	if (err->code == EBADMSG || err->code == ENODATA || err->code == EFBIG) {
		(void)fprintf(stderr, "%s\n", err->msg);
		return CLI_FAILED;
	}
	if (err->code == EBUSY || err->code == EEXIST)
		return cli_fail(p, NULL, err, r);
	(void)err_wrap(err, r, "ref \"%.200s\"", in->key);
	return cli_fail(p, NULL, err, r);
}

/* As if we had never caught it, so that the shell sees what happened. */
static int die_of(const struct cli_program *p, const struct ingestion *in, uint64_t kept)
{
	sigset_t set;

	(void)cli_usage_error(p, "ref \"%.200s\": %s, %llu bytes are kept", in->key,
			      sigdescr_np(in->signal), (unsigned long long)kept);
	(void)fflush(NULL);
	(void)signal(in->signal, SIG_DFL);
	(void)raise(in->signal);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, in->signal);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return 128 + in->signal;
}

static int ingest_stdin(const struct cli_program *p, struct ingestion *in)
{
	cleanup(store_closep) struct store *s = NULL;
	cleanup(ingest_closep) struct ingest *i = NULL;
	struct err err = {0};
	struct digest d;
	uint64_t kept;
	int r;

	if (root_open(p, in->root, STORE_CREATE, &s) != CLI_OK)
		return CLI_FAILED;
	if (in->has_expected && is_here(s, &in->expected))
		return already_exists(&in->expected);
	r = open_waiting(in, s, &i, &err);
	if (r == -EEXIST && in->has_expected)
		return already_exists(&in->expected);
	if (r == 0)
		r = set_expectations(in, i, &err);
	if (r == 0)
		r = copy_stdin(in, i, ingest_size(i), &err);
	if (r == 0)
		r = ingest_commit(i, &d, &err);
	if (r == 0)
		return CLI_OK;
	kept = i != NULL ? ingest_size(i) : 0;
	i = ingest_close(i);
	s = store_close(s);
	if (in->signal != 0)
		return die_of(p, in, kept);
	if (r == -ETIMEDOUT && err.code == 0)
		(void)err_set(&err, ETIMEDOUT, "timed out, %llu bytes are kept",
			      (unsigned long long)kept);
	return fail(p, in, &err, r);
}

static int set_deadline(const struct cli_program *p, struct ingestion *in, const char *timeout)
{
	uint64_t ns;

	if (clock_parse_duration(timeout, &ns) < 0)
		return cli_usage_error(p, "invalid timeout \"%.100s\": want e.g. 30s, 1m30s",
				       timeout);
	in->deadline_ms = ns > 0 ? clock_mono_ms() + ns / 1000000 : 0;
	return CLI_OK;
}

/* "sha256-<hex>" where no key was given: what the reference makes of it. */
static int set_key(const struct cli_program *p, struct ingestion *in, int argc, char **argv)
{
	if (argc > 1)
		return cli_usage_error(p, "one KEY at most; options go before it");
	if (argc == 1 && argv[0][0] != '\0') {
		if (strlen(argv[0]) > INGEST_REF_MAX)
			return cli_usage_error(p, "the KEY is longer than %d bytes",
					       INGEST_REF_MAX);
		(void)snprintf(in->key, sizeof(in->key), "%s", argv[0]);
		return CLI_OK;
	}
	if (!in->has_expected)
		return cli_usage_error(p,
				       "must specify a transaction reference or expected digest");
	(void)snprintf(in->key, sizeof(in->key), "%s", digest_text(&in->expected).s);
	*strchr(in->key, ':') = '-';
	return CLI_OK;
}

static int take_option(const struct cli_program *p, struct ingestion *in, int o)
{
	struct err err = {0};
	uint64_t ns;
	int r;

	switch (o) {
	case 'p':
	case 'r':
		in->root = optarg;
		return CLI_OK;
	case 's':
		if (size_parse(optarg, &in->expected_size) < 0)
			return cli_usage_error(p, "invalid size \"%.100s\"", optarg);
		return CLI_OK;
	case 'd':
		in->has_expected = optarg[0] != '\0';
		r = in->has_expected ? digest_parse(optarg, &in->expected, &err) : 0;
		return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
	case 'R':
		in->resume = true;
		return CLI_OK;
	case 'w':
		if (clock_parse_duration(optarg, &ns) < 0)
			return cli_usage_error(p, "invalid duration \"%.100s\"", optarg);
		in->wait_ms = ns / 1000000;
		return CLI_OK;
	default:
		return set_deadline(p, in, optarg);
	}
}

int cmd_ingest(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"root", required_argument, NULL, 'r'},
					      {"path", required_argument, NULL, 'p'},
					      {"expected-size", required_argument, NULL, 's'},
					      {"expected-digest", required_argument, NULL, 'd'},
					      {"resume", no_argument, NULL, 'R'},
					      {"wait", required_argument, NULL, 'w'},
					      {"timeout", required_argument, NULL, 't'},
					      {0}};
	struct ingestion in = {.root = root_default(), .signal_fd = -1};
	const char *timeout =
		getenv("CONTAINERD_FETCH_TIMEOUT"); /* NOLINT(concurrency-mt-unsafe) */
	int o, r, status;

	if (timeout != NULL && timeout[0] != '\0' && set_deadline(p, &in, timeout) != CLI_OK)
		return CLI_FAILED;
	while ((o = cli_getopt(p, argc, argv, "p:", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (take_option(p, &in, o) != CLI_OK)
			return CLI_FAILED;
	}
	if (set_key(p, &in, argc - optind, argv + optind) != CLI_OK)
		return CLI_FAILED;
	r = catch_signals(&in);
	if (r < 0)
		return cli_fail(p, "signalfd", NULL, r);
	status = ingest_stdin(p, &in);
	(void)close(in.signal_fd);
	return status;
}
