#include "store/image_index.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/dir.h"
#include "base/fd.h"
#include "store/store_private.h"

#define INDEX_FILE "index.json"
#define LAYOUT_FILE "oci-layout"
#define LOCK_FILE ".index.lock"
#define LOCK_TIMEOUT_MS 10000
#define REF_NAME "org.opencontainers.image.ref.name"

static int out_of_memory(struct err *err)
{
	return err_set(err, ENOMEM, "out of memory");
}

/* The document, or an empty one where there is no file; *ret is the caller's to release. */
static int parse(const void *buf, size_t len, json_t **ret, struct err *err)
{
	json_error_t why;
	json_t *o = json_loadb(buf, len, JSON_ALLOW_NUL, &why);

	if (o == NULL && json_error_code(&why) == json_error_out_of_memory)
		return out_of_memory(err);
	if (o == NULL)
		return err_set(err, EBADMSG, INDEX_FILE ": no JSON: line %d: %s", why.line,
			       why.text);
	if (!json_is_object(o) || !json_is_array(json_object_get(o, "manifests"))) {
		json_decref(o);
		return err_set(err, EBADMSG, INDEX_FILE ": no index of an OCI image layout");
	}
	*ret = o;
	return 0;
}

static int read_file(struct store *s, struct buf *text, struct err *err)
{
	int r = fd_read_file(s->root_fd, INDEX_FILE, text);

	if (r == -E2BIG)
		return err_set(err, EBADMSG, INDEX_FILE ": larger than %zu bytes",
			       IMAGE_INDEX_MAX_BYTES);
	return r < 0 && r != -ENOENT ? err_errno(err, -r, INDEX_FILE) : r;
}

static const char *name_of(const json_t *o)
{
	const char *s =
		json_string_value(json_object_get(json_object_get(o, "annotations"), REF_NAME));

	return s != NULL ? s : "";
}

/* 0, or -EBADMSG for what is no descriptor of ours to tell. */
static int entry_from_json(const json_t *o, struct image_entry *ret)
{
	const char *name = name_of(o), *digest = json_string_value(json_object_get(o, "digest"));
	const char *mediatype = json_string_value(json_object_get(o, "mediaType"));
	json_int_t size = json_integer_value(json_object_get(o, "size"));

	memset(ret, 0, sizeof(*ret));
	if (strlen(name) >= sizeof(ret->name) || size < 0 || digest == NULL ||
	    digest_parse(digest, &ret->digest, NULL) < 0)
		return -EBADMSG;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", name);
	if (mediatype != NULL && strlen(mediatype) < sizeof(ret->mediatype))
		(void)snprintf(ret->mediatype, sizeof(ret->mediatype), "%s", mediatype);
	ret->size = (uint64_t)size;
	return 0;
}

int image_index_parse(const void *buf, size_t len, image_index_fn *fn, void *arg, struct err *err)
{
	json_t *o = NULL, *manifests;
	struct image_entry e;
	int r = parse(buf, len, &o, err);

	if (r < 0)
		return r;
	manifests = json_object_get(o, "manifests");
	for (size_t i = 0; i < json_array_size(manifests) && r == 0; i++)
		if (entry_from_json(json_array_get(manifests, i), &e) == 0)
			r = fn(arg, &e);
	json_decref(o);
	return r;
}

int image_index_walk(struct store *s, image_index_fn *fn, void *arg, struct err *err)
{
	cleanup_buf struct buf text;
	int r;

	buf_init(&text, IMAGE_INDEX_MAX_BYTES);
	r = read_file(s, &text, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return image_index_parse(text.data, text.len, fn, arg, err);
}

struct search {
	const char *name;
	struct image_entry *ret;
};

static int match(void *arg, const struct image_entry *e)
{
	struct search *search = arg;

	if (e->name[0] == '\0' || strcmp(e->name, search->name) != 0)
		return 0;
	*search->ret = *e;
	return 1;
}

int image_index_get(struct store *s, const char *name, struct image_entry *ret, struct err *err)
{
	struct search search = {.name = name, .ret = ret};
	int r = image_index_walk(s, match, &search, err);

	if (r == 0)
		return err_set(err, ENOENT, "no image \"%s\" in the store", name);
	return r < 0 ? r : 0;
}

/* Under the lock: a temporary file of the index is what kill -9 left. */
static void sweep(struct store *s)
{
	cleanup_dir DIR *dir = dir_open(s->root_fd, ".");
	struct dirent *e;

	while (dir != NULL && (e = dir_next(dir)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n > 4 && strcmp(e->d_name + n - 4, ".tmp") == 0 &&
		    strncmp(e->d_name, "." INDEX_FILE ".", strlen("." INDEX_FILE ".")) == 0)
			(void)unlinkat(s->root_fd, e->d_name, 0);
	}
}

/* The lock of who changes the index, released by closing it; or a negative errno. */
static int lock_index(struct store *s, struct err *err)
{
	cleanup_fd int fd = -1;
	int r;

	if (s->rdonly)
		return err_errno(err, EROFS, INDEX_FILE);
	fd = openat(s->root_fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_errno(err, errno, LOCK_FILE);
	r = fd_lock_within(fd, LOCK_TIMEOUT_MS);
	if (r == -EAGAIN)
		return err_set(err, EBUSY, INDEX_FILE ": somebody else is writing it");
	if (r < 0)
		return err_errno(err, -r, LOCK_FILE);
	sweep(s);
	return steal_fd(fd);
}

static int load(struct store *s, json_t **ret, struct err *err)
{
	cleanup_buf struct buf text;
	int r;

	buf_init(&text, IMAGE_INDEX_MAX_BYTES);
	r = read_file(s, &text, err);
	if (r == 0)
		return parse(text.data, text.len, ret, err);
	if (r != -ENOENT)
		return r;
	*ret = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType",
			 "application/vnd.oci.image.index.v1+json", "manifests");
	return *ret == NULL ? out_of_memory(err) : 0;
}

/* The index last: a layout is one once it has both. */
static int save(struct store *s, const json_t *o, struct err *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	cleanup_free char *text = json_dumps(o, JSON_COMPACT);
	int r = 0;

	if (text == NULL)
		return out_of_memory(err);
	if (strlen(text) > IMAGE_INDEX_MAX_BYTES)
		return err_set(err, E2BIG, INDEX_FILE ": would be larger than %zu bytes",
			       IMAGE_INDEX_MAX_BYTES);
	if (faccessat(s->root_fd, LAYOUT_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		r = fd_write_file(s->root_fd, LAYOUT_FILE, layout, strlen(layout), 0644);
	if (r == 0)
		r = fd_write_file(s->root_fd, INDEX_FILE, text, strlen(text), 0644);
	if (r == 0)
		r = fd_sync_dir(s->root_fd, ".");
	return r < 0 ? err_errno(err, -r, INDEX_FILE) : 0;
}

/* Take the entries of that name out; how many there were. *ret_same: the last said just what e
 * does. */
static size_t take_out(json_t *manifests, const char *name, const struct image_entry *e,
		       bool *ret_same)
{
	size_t n = 0;

	for (size_t i = json_array_size(manifests); i-- > 0;) {
		json_t *o = json_array_get(manifests, i);
		struct image_entry old;

		if (strcmp(name_of(o), name) != 0)
			continue;
		*ret_same = e != NULL && entry_from_json(o, &old) == 0 && old.size == e->size &&
			    digest_equal(&old.digest, &e->digest) &&
			    strcmp(old.mediatype, e->mediatype) == 0;
		n++;
		(void)json_array_remove(manifests, i);
	}
	return n;
}

static int append(json_t *manifests, const struct image_entry *e, struct err *err)
{
	json_t *o = json_pack("{s:s*, s:s, s:I, s:{s:s}}", "mediaType",
			      e->mediatype[0] != '\0' ? e->mediatype : NULL, "digest",
			      digest_text(&e->digest).s, "size", (json_int_t)e->size, "annotations",
			      REF_NAME, e->name);

	return o == NULL || json_array_append_new(manifests, o) < 0 ? out_of_memory(err) : 0;
}

static bool is_name(const char *s)
{
	json_t *v = json_string(s); /* NULL for what is no UTF-8 */
	bool ok = v != NULL && s[0] != '\0' && strlen(s) < IMAGE_NAME_MAX;

	json_decref(v);
	for (; *s != '\0'; s++)
		ok = ok && (unsigned char)*s > ' ' && *s != 0x7f;
	return ok;
}

int image_index_set(struct store *s, const struct image_entry *e, struct err *err)
{
	cleanup_fd int lock_fd = -1;
	bool same = false;
	json_t *o = NULL;
	size_t n;
	int r;

	if (!is_name(e->name))
		return err_set(err, EINVAL, "\"%s\" is no name for an image", e->name);
	lock_fd = lock_index(s, err);
	if (lock_fd < 0)
		return lock_fd;
	r = load(s, &o, err);
	if (r < 0)
		return r;
	n = take_out(json_object_get(o, "manifests"), e->name, e, &same);
	if (n != 1 || !same) {
		r = append(json_object_get(o, "manifests"), e, err);
		if (r == 0)
			r = save(s, o, err);
	}
	json_decref(o);
	return r;
}

int image_index_remove(struct store *s, const char *name, struct err *err)
{
	cleanup_fd int lock_fd = lock_index(s, err);
	bool same;
	json_t *o = NULL;
	int r;

	if (lock_fd < 0)
		return lock_fd;
	r = load(s, &o, err);
	if (r < 0)
		return r;
	if (name[0] == '\0' || take_out(json_object_get(o, "manifests"), name, NULL, &same) == 0)
		r = err_set(err, ENOENT, "no image \"%s\" in the store", name);
	else
		r = save(s, o, err);
	json_decref(o);
	return r;
}
