#include "store/label.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/dir.h"
#include "base/fd.h"
#include "store/store_private.h"

#define MAX_FILE_BYTES ((size_t)64 << 10)
#define LOCK_TIMEOUT_MS 10000

void label_init(struct label *l)
{
	memset(l, 0, sizeof(*l));
}

int label_add_source(struct label *l, const char *source)
{
	if (strlen(source) >= sizeof(l->source[0]))
		return -ENAMETOOLONG;
	for (size_t i = 0; i < l->n_sources; i++)
		if (strcmp(l->source[i], source) == 0)
			return 0;
	if (l->n_sources == LABEL_SOURCES_MAX) {
		memmove(l->source[0], l->source[1], sizeof(l->source[0]) * (LABEL_SOURCES_MAX - 1));
		l->n_sources--;
	}
	(void)snprintf(l->source[l->n_sources++], sizeof(l->source[0]), "%s", source);
	return 0;
}

/* labels/sha256, or a negative errno. */
static int open_dir(struct store *s, bool make)
{
	int fd;

	if (make && ((mkdirat(s->root_fd, "labels", 0755) < 0 && errno != EEXIST) ||
		     (mkdirat(s->root_fd, "labels/sha256", 0755) < 0 && errno != EEXIST)))
		return -errno;
	fd = openat(s->root_fd, "labels/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The object in the file; -ENOENT when there is none, or it is no object. What is too large to be
 * read is not ours to replace: -E2BIG. */
static int load(int dir_fd, const char *hex, json_t **ret)
{
	cleanup_buf struct buf text;
	json_t *o;
	int r;

	buf_init(&text, MAX_FILE_BYTES);
	r = fd_read_file(dir_fd, hex, &text);
	if (r < 0)
		return r == -EINVAL ? -ENOENT : r;
	o = json_loadb(text.data, text.len, 0, NULL);
	if (!json_is_object(o)) {
		json_decref(o);
		return -ENOENT;
	}
	*ret = o;
	return 0;
}

static void get_string(const json_t *o, const char *key, char *out, size_t n)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (s != NULL && strlen(s) < n)
		(void)snprintf(out, n, "%s", s);
}

static void parse(const json_t *o, struct label *ret)
{
	char pin[8] = "";
	json_t *v;
	size_t i;

	label_init(ret);
	json_array_foreach(json_object_get(o, "source"), i, v) if (json_is_string(v))(void)
		label_add_source(ret, json_string_value(v));
	get_string(o, "mediatype", ret->mediatype, sizeof(ret->mediatype));
	get_string(o, "origin", ret->origin, sizeof(ret->origin));
	get_string(o, "pinned", pin, sizeof(pin));
	if (json_integer_value(json_object_get(o, "size")) > 0)
		ret->size = (uint64_t)json_integer_value(json_object_get(o, "size"));
	if (strcmp(pin, "part") == 0)
		ret->pin = LABEL_PINNED_PART;
	else if (json_object_get(o, "pinned") != NULL) /* whatever it says: better kept than lost */
		ret->pin = LABEL_PINNED;
}

static int read_at(int dir_fd, const char *hex, struct label *ret)
{
	json_t *o = NULL;
	int r = load(dir_fd, hex, &o);

	if (r < 0)
		return r;
	parse(o, ret);
	json_decref(o);
	return 0;
}

int label_read(struct store *s, const struct digest *d, struct label *ret)
{
	cleanup_fd int dir_fd = open_dir(s, /* make= */ false);
	char hex[DIGEST_HEX_LEN + 1];

	if (dir_fd < 0)
		return dir_fd;
	digest_hex(d, hex);
	return read_at(dir_fd, hex, ret);
}

/* Text that is no UTF-8 cannot be told in JSON: such a key is left out. */
static int set_string(json_t *o, const char *key, const char *s)
{
	json_t *v;

	if (s[0] == '\0')
		return json_object_del(o, key), 0;
	v = json_string(s);
	return v == NULL ? 0 : json_object_set_new(o, key, v);
}

static int set_all(json_t *o, const struct label *l)
{
	static const char *const pins[] = {"", "part", "yes"};
	json_t *sources = json_array();
	int bad = sources == NULL;

	for (size_t i = 0; i < l->n_sources && !bad; i++) {
		json_t *v = json_string(l->source[i]);

		if (v != NULL)
			bad = json_array_append_new(sources, v) < 0;
	}
	if (bad) {
		json_decref(sources);
		return -ENOMEM;
	}
	bad = json_object_set_new(o, "source", sources) < 0 ||
	      set_string(o, "mediatype", l->mediatype) < 0 ||
	      set_string(o, "origin", l->origin) < 0 || set_string(o, "pinned", pins[l->pin]) < 0;
	if (!bad && l->size > 0)
		bad = json_object_set_new(o, "size", json_integer((json_int_t)l->size)) < 0;
	else if (!bad)
		(void)json_object_del(o, "size");
	return bad ? -ENOMEM : 0;
}

/* As fd_write_file(), whose fsync label_write() promises not to need. */
static int replace(int dir_fd, const char *hex, const char *text)
{
	cleanup_fd int fd = -1;
	char tmp[DIGEST_HEX_LEN + 64];
	int r;

	(void)snprintf(tmp, sizeof(tmp), ".%s.%ld.%ld.tmp", hex, (long)getpid(), (long)gettid());
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, text, strlen(text));
	if (r == 0 && renameat(dir_fd, tmp, dir_fd, hex) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir_fd, tmp, 0);
	return r;
}

int label_lock(struct store *s)
{
	cleanup_fd int fd = -1;
	int r;

	if (s->rdonly)
		return -EROFS;
	if (mkdirat(s->root_fd, "labels", 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(s->root_fd, "labels/.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = fd_lock_within(fd, LOCK_TIMEOUT_MS);
	if (r < 0)
		return r == -EAGAIN ? -EBUSY : r;
	return steal_fd(fd);
}

static int write_locked(int dir_fd, const struct digest *d, const struct label *l, bool durable)
{
	char hex[DIGEST_HEX_LEN + 1];
	cleanup_free char *text = NULL;
	json_t *o = NULL;
	int r;

	digest_hex(d, hex);
	r = load(dir_fd, hex, &o);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT)
		o = json_object();
	if (o == NULL)
		return -ENOMEM;
	r = set_all(o, l);
	if (r == 0)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (r < 0 || text == NULL)
		return -ENOMEM;
	if (!durable)
		return replace(dir_fd, hex, text);
	r = fd_write_file(dir_fd, hex, text, strlen(text), 0644);
	return r == 0 ? fd_sync_dir(dir_fd, ".") : r;
}

int label_write(struct store *s, const struct digest *d, const struct label *l)
{
	cleanup_fd int lock_fd = label_lock(s);
	cleanup_fd int dir_fd = -1;

	if (lock_fd < 0)
		return lock_fd;
	dir_fd = open_dir(s, /* make= */ true);
	return dir_fd < 0 ? dir_fd : write_locked(dir_fd, d, l, /* durable= */ false);
}

/* What an update does to a label; whether that changed anything, and must survive power loss. */
struct change {
	bool (*apply)(struct label *l, const void *arg, bool *ret_durable);
	const void *arg;
};

/* Returns 1 when the label was written, 0 when there was nothing to change, or a negative errno. */
static int update(struct store *s, const struct digest *d, const struct change *c)
{
	cleanup_fd int lock_fd = -1, dir_fd = -1;
	bool durable = false;
	struct label l;
	int r;

	/* Most of the time there is nothing new, and no lock to take for it. */
	label_init(&l);
	r = label_read(s, d, &l);
	if (r < 0 && r != -ENOENT)
		return r;
	if (!c->apply(&l, c->arg, &durable))
		return 0;
	lock_fd = label_lock(s);
	if (lock_fd < 0)
		return lock_fd;
	dir_fd = open_dir(s, /* make= */ true);
	if (dir_fd < 0)
		return dir_fd;
	label_init(&l);
	r = label_read(s, d, &l);
	if (r < 0 && r != -ENOENT)
		return r;
	if (!c->apply(&l, c->arg, &durable))
		return 0;
	r = write_locked(dir_fd, d, &l, durable);
	return r < 0 ? r : 1;
}

struct lesson {
	const char *source, *mediatype, *origin;
	uint64_t size;
};

static bool set_text(char *text, size_t n, const char *to)
{
	if (to == NULL || strlen(to) >= n || strcmp(text, to) == 0)
		return false;
	(void)snprintf(text, n, "%s", to);
	return true;
}

static bool learn(struct label *l, const void *arg, bool *ret_durable)
{
	const struct lesson *x = arg;
	struct label old = *l;
	bool changed;

	(void)ret_durable;
	if (x->source != NULL)
		(void)label_add_source(l, x->source);
	changed = memcmp(old.source, l->source, sizeof(l->source)) != 0;
	changed |= set_text(l->mediatype, sizeof(l->mediatype), x->mediatype);
	if (strcmp(l->origin, LABEL_ORIGIN_INGEST) != 0)
		changed |= set_text(l->origin, sizeof(l->origin), x->origin);
	if (x->size > 0 && x->size != l->size) {
		l->size = x->size;
		changed = true;
	}
	return changed;
}

int label_learn(struct store *s, const struct digest *d, const char *source, const char *mediatype,
		uint64_t size, const char *origin)
{
	struct lesson x = {
		.source = source, .mediatype = mediatype, .origin = origin, .size = size};
	int r = update(s, d, &(struct change){.apply = learn, .arg = &x});

	return r < 0 ? r : 0;
}

static bool claim(struct label *l, const void *arg, bool *ret_durable)
{
	(void)arg;
	/* A label that power loss takes leaves a blob of which nothing is known: that stays too. */
	*ret_durable = l->origin[0] != '\0';
	return set_text(l->origin, sizeof(l->origin), LABEL_ORIGIN_INGEST);
}

int label_claim(struct store *s, const struct digest *d)
{
	int r = update(s, d, &(struct change){.apply = claim});
	struct label l;

	if (r >= 0)
		return 0;
	/* A blob of which nothing is known stays as well: no reason to fail on a full disk. */
	if (label_read(s, d, &l) < 0 || strcmp(l.origin, LABEL_ORIGIN_FETCH) != 0)
		return 0;
	return r;
}

static bool set_pin(struct label *l, const void *arg, bool *ret_durable)
{
	const enum label_pin *pin = arg;
	bool changed = l->pin != *pin;

	l->pin = *pin;
	*ret_durable = true;
	return changed;
}

int label_set_pin(struct store *s, const struct digest *d, enum label_pin pin)
{
	return update(s, d, &(struct change){.apply = set_pin, .arg = &pin});
}

int label_walk(struct store *s, int (*fn)(void *arg, const struct digest *d, const struct label *l),
	       void *arg)
{
	cleanup_fd int dir_fd = open_dir(s, /* make= */ false);
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;

	if (dir_fd < 0)
		return dir_fd == -ENOENT ? 0 : dir_fd;
	dir = dir_open(dir_fd, ".");
	if (dir == NULL)
		return -errno;
	while ((e = dir_next(dir)) != NULL) {
		struct digest d;
		struct label l;
		int r;

		if (digest_parse_hex(e->d_name, &d) < 0 || read_at(dir_fd, e->d_name, &l) < 0)
			continue;
		r = fn(arg, &d, &l);
		if (r != 0)
			return r;
	}
	return errno != 0 ? -errno : 0;
}

int label_remove(struct store *s, const struct digest *d)
{
	cleanup_fd int dir_fd = open_dir(s, /* make= */ false);
	char hex[DIGEST_HEX_LEN + 1];
	cleanup_fd int lock_fd = -1;

	if (s->rdonly)
		return -EROFS;
	if (dir_fd < 0)
		return dir_fd == -ENOENT ? 0 : dir_fd;
	lock_fd = label_lock(s);
	if (lock_fd < 0)
		return lock_fd;
	digest_hex(d, hex);
	return unlinkat(dir_fd, hex, 0) < 0 && errno != ENOENT ? -errno : 0;
}
