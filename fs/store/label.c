#include "store/label.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fd.h"
#include "store/store_private.h"

#define MAX_FILE_BYTES ((size_t)64 << 10)

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

/* The object in the file; -ENOENT when there is none, or it is no object. */
static int load(int dir_fd, const char *hex, json_t **ret)
{
	cleanup_buf struct buf text;
	json_t *o;
	int r;

	buf_init(&text, MAX_FILE_BYTES);
	r = fd_read_file(dir_fd, hex, &text);
	if (r == -E2BIG || r == -EINVAL)
		return -ENOENT;
	if (r < 0)
		return r;
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

int label_read(struct store *s, const struct digest *d, struct label *ret)
{
	cleanup_fd int dir_fd = open_dir(s, /* make= */ false);
	char hex[DIGEST_HEX_LEN + 1];
	json_t *o = NULL, *v;
	size_t i;
	int r;

	if (dir_fd < 0)
		return dir_fd;
	digest_hex(d, hex);
	r = load(dir_fd, hex, &o);
	if (r < 0)
		return r;
	label_init(ret);
	json_array_foreach(json_object_get(o, "source"), i, v) if (json_is_string(v))(void)
		label_add_source(ret, json_string_value(v));
	get_string(o, "mediatype", ret->mediatype, sizeof(ret->mediatype));
	get_string(o, "origin", ret->origin, sizeof(ret->origin));
	if (json_integer_value(json_object_get(o, "size")) > 0)
		ret->size = (uint64_t)json_integer_value(json_object_get(o, "size"));
	json_decref(o);
	return 0;
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

static int fill(json_t *o, const struct label *l)
{
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
	      set_string(o, "origin", l->origin) < 0;
	if (!bad && l->size > 0)
		bad = json_object_set_new(o, "size", json_integer((json_int_t)l->size)) < 0;
	else if (!bad)
		(void)json_object_del(o, "size");
	return bad ? -ENOMEM : 0;
}

/* As fd_write_file(), without its fsync: see label_write(). */
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

int label_write(struct store *s, const struct digest *d, const struct label *l)
{
	char hex[DIGEST_HEX_LEN + 1];
	cleanup_fd int dir_fd = -1;
	cleanup_free char *text = NULL;
	json_t *o = NULL;
	int r;

	if (s->rdonly)
		return -EROFS;
	dir_fd = open_dir(s, /* make= */ true);
	if (dir_fd < 0)
		return dir_fd;
	digest_hex(d, hex);
	if (load(dir_fd, hex, &o) < 0)
		o = json_object();
	if (o == NULL)
		return -ENOMEM;
	r = fill(o, l);
	if (r == 0)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (r < 0 || text == NULL)
		return -ENOMEM;
	return replace(dir_fd, hex, text);
}

int label_learn(struct store *s, const struct digest *d, const char *source, const char *mediatype,
		uint64_t size, const char *origin)
{
	struct label old, l;
	int r;

	label_init(&l);
	r = label_read(s, d, &l);
	if (r < 0 && r != -ENOENT)
		return r;
	old = l;
	if (source != NULL)
		(void)label_add_source(&l, source);
	if (mediatype != NULL && strlen(mediatype) < sizeof(l.mediatype))
		(void)snprintf(l.mediatype, sizeof(l.mediatype), "%s", mediatype);
	if (origin != NULL && strlen(origin) < sizeof(l.origin))
		(void)snprintf(l.origin, sizeof(l.origin), "%s", origin);
	if (size > 0)
		l.size = size;
	if (r == 0 && old.n_sources == l.n_sources && old.size == l.size &&
	    strcmp(old.mediatype, l.mediatype) == 0 && strcmp(old.origin, l.origin) == 0 &&
	    memcmp(old.source, l.source, sizeof(l.source)) == 0)
		return 0;
	return label_write(s, d, &l);
}

int label_remove(struct store *s, const struct digest *d)
{
	cleanup_fd int dir_fd = open_dir(s, /* make= */ false);
	char hex[DIGEST_HEX_LEN + 1];

	if (s->rdonly)
		return -EROFS;
	if (dir_fd < 0)
		return dir_fd == -ENOENT ? 0 : dir_fd;
	digest_hex(d, hex);
	return unlinkat(dir_fd, hex, 0) < 0 && errno != ENOENT ? -errno : 0;
}
