#include "registry/hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/map.h"
#include "registry/hosts_private.h"
#include "registry/toml.h"

#define MAX_CA_BYTES ((size_t)8 << 20)
#define MAX_REMEMBERED 256 /* registries */

struct entry {
	uint64_t signature; /* of the files that list was made from */
	struct host_list *list;
};

struct hosts {
	char *dirs;
	struct map entries; /* registry -> struct entry */
};

struct host_list *host_list_ref(struct host_list *l)
{
	l->refs++;
	return l;
}

static void host_done(struct host *h)
{
	for (size_t i = 0; i < h->n_cas; i++)
		free(h->ca_paths[i]);
	for (size_t i = 0; i < h->n_headers; i++) {
		free(h->headers[i].name);
		free(h->headers[i].value);
	}
	free(h->ca_paths);
	free(h->headers);
	free(h->ca);
	free(h->base);
	free(h->name);
	free(h->client_cert);
	free(h->client_key);
}

struct host_list *host_list_unref(struct host_list *l)
{
	if (l == NULL || --l->refs > 0)
		return NULL;
	for (size_t i = 0; i < l->n_hosts; i++)
		host_done(&l->hosts[i]);
	free(l->hosts);
	free(l->registry);
	free(l);
	return NULL;
}

int hosts_new(const char *dirs, struct hosts **ret)
{
	struct hosts *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	map_init(&h->entries);
	h->dirs = strdup(dirs);
	if (h->dirs == NULL) {
		free(h);
		return -ENOMEM;
	}
	*ret = h;
	return 0;
}

static void forget_all(struct hosts *h)
{
	struct entry *e;
	size_t pos = 0;

	while ((e = map_next(&h->entries, &pos)) != NULL) {
		host_list_unref(e->list);
		free(e);
	}
	map_done(&h->entries);
	map_init(&h->entries);
}

struct hosts *hosts_free(struct hosts *h)
{
	if (h == NULL)
		return NULL;
	forget_all(h);
	map_done(&h->entries);
	free(h->dirs);
	free(h);
	return NULL;
}

/* FNV-1a over what changes when a file does. */
static void sign(uint64_t *signature, const char *path)
{
	struct stat st = {0};
	uint64_t words[6] = {0};
	const unsigned char *p = (const void *)words;

	if (stat(path, &st) == 0) {
		words[0] = st.st_ino;
		words[1] = st.st_dev;
		words[2] = (uint64_t)st.st_size;
		words[3] = (uint64_t)st.st_mtim.tv_sec;
		words[4] = (uint64_t)st.st_mtim.tv_nsec;
		words[5] = (uint64_t)st.st_ctim.tv_nsec + 1;
	}
	for (size_t i = 0; i < sizeof(words); i++)
		*signature = (*signature ^ p[i]) * 0x100000001b3;
}

/* Of a directory (files come and go), its name, its hosts.toml; taken before they are read. */
static uint64_t sign_dir(const char *dir)
{
	uint64_t signature = 0xcbf29ce484222325;
	char path[4400];

	for (const char *s = dir; *s != '\0'; s++)
		signature = (signature ^ (unsigned char)*s) * 0x100000001b3;
	sign(&signature, dir);
	(void)snprintf(path, sizeof(path), "%s/hosts.toml", dir);
	sign(&signature, path);
	return signature;
}

/* The same, with the CAs that it names. */
static uint64_t sign_cas(uint64_t signature, const struct host_list *l)
{
	for (size_t i = 0; i < l->n_hosts; i++)
		for (size_t k = 0; k < l->hosts[i].n_cas; k++)
			sign(&signature, l->hosts[i].ca_paths[k]);
	return signature;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The directory under root that describes the registry; false: none. */
static bool find_under(const char *root, size_t root_len, const char *registry, char *out, size_t n)
{
	const char *colon = strrchr(registry, ':');
	int len = (int)(root_len < 4096 ? root_len : 4096);

	if (colon != NULL && strchr(colon, ']') == NULL) {
		(void)snprintf(out, n, "%.*s/%.*s_%s_", len, root, (int)(colon - registry),
			       registry, colon + 1);
		if (is_dir(out))
			return true;
	}
	(void)snprintf(out, n, "%.*s/%s", len, root, registry);
	if (is_dir(out))
		return true;
	(void)snprintf(out, n, "%.*s/_default", len, root);
	return is_dir(out);
}

/* "" when no directory describes the registry. */
static void find_dir(const struct hosts *h, const char *registry, char *out, size_t n)
{
	for (const char *root = h->dirs; *root != '\0';) {
		size_t len = strcspn(root, ":");

		if (len > 0 && find_under(root, len, registry, out, n))
			return;
		root += len;
		root += *root == ':';
	}
	*out = '\0';
}

static bool ends_with(const char *s, const char *suffix, size_t *ret_stem)
{
	size_t n = strlen(s), k = strlen(suffix);

	*ret_stem = n - k;
	return n > k && strcmp(s + n - k, suffix) == 0;
}

/* Docker's way: *.crt are CAs, x.cert and x.key what we show (docs "Verify repository client"). */
static int load_cert_files(struct host *h, const char *path)
{
	cleanup_dir DIR *dir = dir_open(AT_FDCWD, path);
	const struct dirent *e;
	int r = 0;

	if (dir == NULL)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while (r == 0 && (e = dir_next(dir)) != NULL) {
		char key[300];
		size_t stem;

		if (ends_with(e->d_name, ".crt", &stem)) {
			r = hosts_add_ca(h, path, e->d_name);
		} else if (ends_with(e->d_name, ".cert", &stem)) {
			(void)snprintf(key, sizeof(key), "%.*s.key", (int)stem, e->d_name);
			r = hosts_set_client(h, path, e->d_name, key);
		}
	}
	return r;
}

/* The registry itself; dir: where its certificates lie, or NULL. */
static int load_certs(const char *dir, const char *registry, struct host_list **ret,
		      struct err *err)
{
	cleanup(host_list_unrefp) struct host_list *l = NULL;
	int r = host_list_new(registry, 1, &l, err);

	if (r < 0)
		return r;
	l->n_hosts = 1;
	l->hosts[0].caps = HOST_PULL | HOST_RESOLVE | HOST_PUSH;
	r = dir != NULL ? load_cert_files(&l->hosts[0], dir) : 0;
	if (r < 0)
		return err_errno(err, -r, "%.200s", dir);
	r = hosts_set_default(&l->hosts[0], registry, err);
	if (r == 0)
		*ret = steal_ptr(l);
	return r;
}

int hosts_default(const char *registry, struct host_list **ret, struct err *err)
{
	return load_certs(NULL, registry, ret, err);
}

static int load_dir(const char *dir, const char *registry, struct host_list **ret, struct err *err)
{
	cleanup_buf struct buf text;
	char path[4400];
	int r;

	buf_init(&text, TOML_MAX_BYTES);
	(void)snprintf(path, sizeof(path), "%s/hosts.toml", dir);
	r = fd_read_file(AT_FDCWD, path, &text);
	if (r == -ENOENT || (r == 0 && text.len == 0))
		return load_certs(dir, registry, ret, err);
	if (r < 0)
		return err_errno(err, -r, "%.200s", path);
	r = hosts_parse(text.data, text.len, dir, registry, ret, err);
	return r < 0 ? err_wrap(err, r, "%.200s", path) : 0;
}

/* The PEM files of a host, one behind the other. */
static int read_cas(struct host *h, struct err *err)
{
	cleanup_buf struct buf all;

	buf_init(&all, MAX_CA_BYTES);
	for (size_t i = 0; i < h->n_cas; i++) {
		cleanup_buf struct buf one;
		int r;

		buf_init(&one, MAX_CA_BYTES);
		r = fd_read_file(AT_FDCWD, h->ca_paths[i], &one);
		if (r == 0)
			r = buf_add(&all, one.data, one.len);
		if (r == 0)
			r = buf_puts(&all, "\n");
		if (r < 0)
			return err_errno(err, -r, "%.200s", h->ca_paths[i]);
	}
	if (h->n_cas == 0)
		return 0;
	h->ca_len = all.len;
	h->ca = buf_steal(&all);
	return h->ca == NULL ? err_set(err, ENOMEM, "out of memory") : 0;
}

static int remember(struct hosts *h, uint64_t signature, struct host_list *l)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	if (h->entries.n_used >= MAX_REMEMBERED)
		forget_all(h);
	e->signature = signature;
	e->list = host_list_ref(l);
	if (map_put(&h->entries, l->registry, strlen(l->registry), e) < 0) {
		host_list_unref(l);
		free(e);
		return -ENOMEM;
	}
	return 0;
}

int hosts_get(struct hosts *h, const char *registry, struct host_list **ret, struct err *err)
{
	cleanup(host_list_unrefp) struct host_list *l = NULL;
	struct entry *e = map_get(&h->entries, registry, strlen(registry));
	uint64_t signature;
	char dir[4400];
	int r;

	/* Also keeps what is no host name, like "..", out of the paths made below. */
	r = host_list_new(registry, 1, &l, err);
	if (r < 0)
		return r;
	l = host_list_unref(l);
	find_dir(h, registry, dir, sizeof(dir));
	signature = sign_dir(dir);
	if (e != NULL && sign_cas(signature, e->list) == e->signature) {
		*ret = host_list_ref(e->list);
		return 0;
	}
	if (e != NULL) {
		(void)map_del(&h->entries, registry, strlen(registry));
		host_list_unref(e->list);
		free(e);
	}
	r = *dir != '\0' ? load_dir(dir, registry, &l, err) : hosts_default(registry, &l, err);
	if (r < 0)
		return r;
	signature = sign_cas(signature, l);
	for (size_t i = 0; r == 0 && i < l->n_hosts; i++)
		r = read_cas(&l->hosts[i], err);
	if (r < 0)
		return r;
	r = remember(h, signature, l);
	if (r < 0)
		return err_set(err, ENOMEM, "out of memory");
	*ret = steal_ptr(l);
	return 0;
}
