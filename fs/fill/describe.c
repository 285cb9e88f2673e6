/*
 * What local manifests and labels tell of digests that may not be here.
 *
 * Every manifest and index of the store is parsed once, when it is committed or, for what came
 * while no daemon ran, by a scan at start. Which blobs are manifests is kept in labels/manifests,
 * so that the next start parses those and looks at no other blob but those that are newer than the
 * scan:
 *
 *   scanned <seconds since the epoch, when the scan began>
 *   <64 hex digits>                       one line for each manifest or index
 *
 * That file is advice: without it everything is looked at again.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/dir.h"
#include "base/fd.h"
#include "base/log.h"
#include "fill/private.h"
#include "oci/manifest.h"
#include "store/blob.h"
#include "store/ingest.h"
#include "store/label.h"
#include "store/scrub.h"

#define LIST_NAME "labels/manifests"
#define LIST_MAX ((size_t)64 << 20)
#define SLACK_S 2	  /* file systems stamp with the time of the last tick, or second */
#define SCAN_WAIT_MS 1000 /* how long a question waits for the scan */
#define SNIFF_BYTES 256

CLEANUP_DEFINE(struct manifest *, manifest_free);

/* A JSON object with members that a manifest has, as far as its beginning tells. */
static bool may_be_manifest(int fd, uint64_t size)
{
	char head[SNIFF_BYTES];
	ssize_t n;

	if (size < 2 || size > MANIFEST_MAX_BYTES)
		return false;
	n = fd_pread_full(fd, head, sizeof(head), 0);
	for (ssize_t i = 0; i < n; i++)
		if (strchr(" \t\r\n", head[i]) == NULL)
			return head[i] == '{';
	return false;
}

static void learn_locked(struct fill *f, const struct descriptor *c, const char *source)
{
	/* An empty media type cannot be; what is here already needs no describing, but may go. */
	(void)known_learn(f->known, &c->digest, c->size, c->mediatype, source);
}

/*
 * A blob that is here with another size than its descriptor says was cut: set it aside, so that it
 * can be fetched again.
 */
static void check_child(struct fill *f, const struct descriptor *c)
{
	struct scrub_result found;
	struct stat st;

	if (blob_stat(f->config.store, &c->digest, &st) < 0 || (uint64_t)st.st_size == c->size)
		return;
	if (scrub_blob(f->config.store, &c->digest, &found) == -EBADMSG &&
	    scrub_quarantine(f->config.store, &c->digest, &found) == 0)
		log_warn("fill", "%s: damaged at rest, set aside", digest_text(&c->digest).s);
}

static bool learn_children(struct fill *f, const void *p, size_t n, const char *source)
{
	cleanup(manifest_freep) struct manifest *m = NULL;

	if (manifest_parse(p, n, &m, NULL) < 0)
		return false;
	fill_lock(f);
	if (m->kind == MANIFEST_IMAGE)
		learn_locked(f, &m->config, source);
	for (size_t i = 0; i < m->n_entries; i++)
		learn_locked(f, &m->entries[i], source);
	if (m->has_subject)
		learn_locked(f, &m->subject, source);
	fill_unlock(f);
	if (m->kind == MANIFEST_IMAGE)
		check_child(f, &m->config);
	for (size_t i = 0; i < m->n_entries; i++)
		check_child(f, &m->entries[i]);
	return true;
}

/* Of one commit several tell, and each file is parsed once. */
static bool is_parsed(struct fill *f, const struct digest *d, ino_t ino)
{
	const struct known_blob *b;
	bool is;

	fill_lock(f);
	b = known_get(f->known, d);
	is = b != NULL && b->parsed == ino;
	fill_unlock(f);
	return is;
}

/* Whether it is the first file of d that was. */
static bool set_parsed(struct fill *f, const struct digest *d, ino_t ino)
{
	struct known_blob *b;
	bool first = true;

	fill_lock(f);
	if (known_learn(f->known, d, KNOWN_NO_SIZE, NULL, NULL) == 0) {
		b = known_get(f->known, d);
		first = b->parsed == 0;
		b->parsed = ino;
	}
	fill_unlock(f);
	return first;
}

/* Remember that d is one: in labels/manifests behind what is there, once. */
static void note_manifest(struct fill *f, const struct digest *d, ino_t ino)
{
	char line[DIGEST_HEX_LEN + 2];
	cleanup_fd int fd = -1;

	if (!set_parsed(f, d, ino))
		return;
	fd = openat(store_root_fd(f->config.store), LIST_NAME,
		    O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return; /* the next scan finds it */
	digest_hex(d, line);
	line[DIGEST_HEX_LEN] = '\n';
	(void)fd_write_full(fd, line, DIGEST_HEX_LEN + 1);
}

void describe_fd(struct fill *f, const struct digest *d, int fd, const char *source)
{
	cleanup_free char *bytes = NULL;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !may_be_manifest(fd, (uint64_t)st.st_size))
		return;
	bytes = malloc((size_t)st.st_size);
	if (bytes == NULL)
		return;
	n = fd_pread_full(fd, bytes, (size_t)st.st_size, 0);
	if (n == st.st_size && learn_children(f, bytes, (size_t)n, source))
		note_manifest(f, d, st.st_ino);
}

/* Where children of d come from: where d did. */
static void source_of(struct fill *f, const struct digest *d, char out[256])
{
	cleanup_free struct label *label = malloc(sizeof(*label));

	out[0] = '\0';
	if (label != NULL && label_read(f->config.store, d, label) == 0 && label->n_sources > 0)
		(void)snprintf(out, 256, "%s", label->source[label->n_sources - 1]);
}

/* Bytes at rest are parsed only when they are the digest's. */
static bool describe_at_rest(struct fill *f, const struct digest *d)
{
	cleanup_buf struct buf bytes;
	struct scrub_result found;
	char source[256];
	int r;

	buf_init(&bytes, MANIFEST_MAX_BYTES);
	r = blob_read(f->config.store, d, &bytes, NULL);
	if (r == -EBADMSG && scrub_blob(f->config.store, d, &found) == -EBADMSG &&
	    scrub_quarantine(f->config.store, d, &found) == 0)
		log_warn("fill", "%s: damaged at rest, set aside", digest_text(d).s);
	if (r < 0)
		return false;
	source_of(f, d, source);
	return learn_children(f, bytes.data, bytes.len, source);
}

static bool looks_like_manifest(struct fill *f, const struct digest *d, struct stat *st)
{
	cleanup_fd int fd = blob_open(f->config.store, d);

	if (fd >= 0)
		blob_only_scanned(fd);
	return fd >= 0 && fstat(fd, st) == 0 && may_be_manifest(fd, (uint64_t)st->st_size);
}

void describe_blob(struct fill *f, const struct digest *d)
{
	struct stat st;

	if (looks_like_manifest(f, d, &st) && !is_parsed(f, d, st.st_ino) && describe_at_rest(f, d))
		note_manifest(f, d, st.st_ino);
}

struct scan {
	struct fill *f;
	int64_t since_s;  /* blobs that have not changed since were looked at before */
	struct buf found; /* the new list */
};

static bool is_stopping(struct fill *f)
{
	bool stop;

	fill_lock(f);
	stop = f->stopping;
	fill_unlock(f);
	return stop;
}

static int add_found(struct scan *s, const struct digest *d)
{
	char hex[DIGEST_HEX_LEN + 1];

	digest_hex(d, hex);
	return buf_printf(&s->found, "%s\n", hex);
}

static int seen_before(const void *a, const void *b)
{
	return digest_compare(a, b);
}

/* The manifests of the last list: sorted, each once. Returns how many. */
static size_t load_list(struct scan *s, struct digest **ret)
{
	cleanup_buf struct buf text;
	struct digest *all = NULL;
	size_t n = 0, kept = 0;
	char *save = NULL;

	*ret = NULL;
	buf_init(&text, LIST_MAX);
	if (fd_read_file(store_root_fd(s->f->config.store), LIST_NAME, &text) < 0 ||
	    sscanf(text.data, "scanned %" SCNd64, &s->since_s) != 1) /* NOLINT(cert-err34-c) */
		return 0;
	all = calloc(text.len / (DIGEST_HEX_LEN + 1) + 1, sizeof(*all));
	if (all == NULL) {
		s->since_s = 0;
		return 0;
	}
	for (char *line = strtok_r(text.data, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save))
		if (digest_parse_hex(line, &all[n]) == 0)
			n++;
	if (n > 0)
		qsort(all, n, sizeof(*all), seen_before);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !digest_equal(&all[i], &all[kept - 1]))
			all[kept++] = all[i];
	*ret = all;
	return kept;
}

/* What the list does not know yet: blobs that appeared since. */
static int scan_new(struct scan *s, const struct digest *old, size_t n_old)
{
	cleanup_dir DIR *dir = dir_open(store_blobs_fd(s->f->config.store), ".");
	struct dirent *e;
	struct stat st;
	size_t n = 0;

	if (dir == NULL || fstat(dirfd(dir), &st) < 0)
		return -errno;
	if (st.st_ctim.tv_sec < s->since_s - SLACK_S)
		return 0; /* no name came or went: not a stat of each to see that */
	while ((e = dir_next(dir)) != NULL) {
		struct digest d;

		if (++n % 1024 == 0 && is_stopping(s->f))
			return -EINTR;
		if (digest_parse_hex(e->d_name, &d) < 0 ||
		    blob_stat(s->f->config.store, &d, &st) < 0 ||
		    st.st_ctim.tv_sec < s->since_s - SLACK_S ||
		    st.st_size > (off_t)MANIFEST_MAX_BYTES ||
		    (n_old > 0 && bsearch(&d, old, n_old, sizeof(d), seen_before) != NULL))
			continue;
		if (looks_like_manifest(s->f, &d, &st) && describe_at_rest(s->f, &d) &&
		    add_found(s, &d) < 0)
			return -ENOMEM;
	}
	return errno != 0 ? -errno : 0;
}

static int scan_store(struct scan *s)
{
	cleanup_free struct digest *old = NULL;
	int64_t now_s = clock_wall_ns() / 1000000000;
	size_t n = load_list(s, &old);
	int r = 0;

	if (s->since_s > now_s)
		s->since_s = 0; /* a clock that went back */
	r = buf_printf(&s->found, "scanned %" PRId64 "\n", now_s);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (is_stopping(s->f))
			return -EINTR;
		if (describe_at_rest(s->f, &old[i]))
			r = add_found(s, &old[i]);
	}
	return r < 0 ? r : scan_new(s, old, n);
}

/* Unfinished fills: what of them is here, for du. */
static int note_partial(void *arg, const struct ingest_status *st)
{
	struct fill *f = arg;
	struct known_blob *b;

	if (strncmp(st->ref, FILL_REF_PREFIX, strlen(FILL_REF_PREFIX)) != 0 || !st->has_expected)
		return 0;
	fill_lock(f);
	b = known_get(f->known, &st->expected);
	if (b != NULL)
		b->local = st->size < b->size ? st->size : b->size;
	fill_unlock(f);
	return 0;
}

static void scan_job(struct work *w)
{
	struct fill *f = list_entry(w, struct fill, scan_job);
	struct scan s = {.f = f};
	int r;

	buf_init(&s.found, LIST_MAX);
	r = scan_store(&s);
	if (r == 0) {
		(void)mkdirat(store_root_fd(f->config.store), "labels", 0755);
		r = fd_write_file(store_root_fd(f->config.store), LIST_NAME, s.found.data,
				  s.found.len, 0644);
		if (r < 0)
			log_debug("fill", "%s: %s", LIST_NAME, err_describe(-r));
		(void)ingest_walk(f->config.store, note_partial, f);
	} else {
		log_debug("fill", "scan of the store: %s", err_describe(-r));
	}
	buf_done(&s.found);
	fill_lock(f);
	f->has_scanned = true;
	(void)pthread_cond_broadcast(&f->changed);
	busy_less_locked(f);
	fill_unlock(f);
}

static bool has_labels(struct fill *f)
{
	cleanup_dir DIR *dir = dir_open(store_root_fd(f->config.store), "labels/sha256");

	return dir != NULL && dir_next(dir) != NULL;
}

void describe_start(struct fill *f)
{
	bool start;

	fill_lock(f);
	start = f->config.scan && f->scan_job.run == NULL && (f->n_defaults > 0 || has_labels(f));
	if (start) {
		f->has_scanned = false;
		f->n_busy++;
		f->scan_job.run = scan_job;
	}
	fill_unlock(f);
	if (start)
		workqueue_add(f->work, &f->scan_job);
}

/* Answers before the scan has ended would miss what it finds; but a large store must not block. */
static void wait_for_scan_locked(struct fill *f)
{
	struct timespec until;
	uint64_t ms = clock_mono_ms() + SCAN_WAIT_MS;
	int r = 0;

	until.tv_sec = (time_t)(ms / 1000);
	until.tv_nsec = (long)(ms % 1000) * 1000000;
	while (!f->has_scanned && !f->stopping && r == 0)
		r = pthread_cond_timedwait(&f->changed, &f->lock, &until);
}

/* What b's readers would be served by; false: nobody has it. */
static bool describe_locked(struct fill *f, const struct known_blob *b, struct blob_info *ret)
{
	const struct fill_one *o = map_get(&f->fills, &b->digest, sizeof(b->digest));
	const struct failure *x = failure_get_locked(f, &b->digest);
	const char *source = known_source(f->known, b);
	uint64_t size;
	int64_t since;
	char state[64];

	if (!b->sized || (source[0] == '\0' && f->n_defaults == 0))
		return false;
	*ret = (struct blob_info){.size = b->size, .local = b->local};
	if (o != NULL)
		fill_one_show_locked(o, &ret->local, &size, &since, state, sizeof(state));
	if (ret->local > ret->size)
		ret->local = ret->size;
	(void)snprintf(ret->mediatype, sizeof(ret->mediatype), "%s", known_mediatype(f->known, b));
	(void)snprintf(ret->source, sizeof(ret->source), "%s",
		       source[0] != '\0' ? source : f->defaults[0]->name);
	if (x != NULL)
		(void)snprintf(ret->error, sizeof(ret->error), "%s", x->text);
	return true;
}

/* A label that knows size and source outlives the manifest that described its blob. */
static bool learn_label(struct fill *f, const struct digest *d)
{
	cleanup_free struct label *label = malloc(sizeof(*label));

	if (label == NULL || label_read(f->config.store, d, label) < 0 || label->size == 0 ||
	    label->n_sources == 0)
		return false;
	fill_lock(f);
	(void)known_learn(f->known, d, label->size, label->mediatype,
			  label->source[label->n_sources - 1]);
	fill_unlock(f);
	return true;
}

int describe_info(struct fill *f, const struct digest *d, struct blob_info *ret)
{
	const struct known_blob *b;
	bool sized, told = false;

	fill_lock(f);
	b = known_get(f->known, d);
	if (b == NULL || !b->sized) {
		wait_for_scan_locked(f);
		b = known_get(f->known, d);
	}
	sized = b != NULL && b->sized;
	if (sized)
		told = describe_locked(f, b, ret);
	fill_unlock(f);
	if (sized || !learn_label(f, d))
		return told ? 0 : -ENOENT;
	fill_lock(f);
	b = known_get(f->known, d);
	told = b != NULL && describe_locked(f, b, ret);
	fill_unlock(f);
	return told ? 0 : -ENOENT;
}

struct described {
	struct digest digest;
	struct blob_info info;
};

static struct described *all_known_locked(struct fill *f, size_t *ret_n)
{
	struct described *all = NULL;
	const struct known_blob *b;
	size_t n = 0, cap = 0, pos = 0;

	while ((b = known_next(f->known, &pos)) != NULL) {
		if (n == cap) {
			struct described *more;

			cap = cap > 0 ? cap * 2 : 64;
			more = reallocarray(all, cap, sizeof(*all));
			if (more == NULL) {
				free(all);
				return NULL;
			}
			all = more;
		}
		all[n].digest = b->digest;
		if (describe_locked(f, b, &all[n].info))
			n++;
	}
	*ret_n = n;
	return all;
}

int describe_known(struct fill *f,
		   int (*fn)(void *arg, const struct digest *d, const struct blob_info *info),
		   void *arg)
{
	cleanup_free struct described *all = NULL;
	size_t n = 0;
	int r = 0;

	fill_lock(f);
	wait_for_scan_locked(f);
	all = all_known_locked(f, &n);
	fill_unlock(f);
	for (size_t i = 0; i < n && r == 0; i++)
		if (!blob_exists(f->config.store, &all[i].digest))
			r = fn(arg, &all[i].digest, &all[i].info);
	return r;
}
