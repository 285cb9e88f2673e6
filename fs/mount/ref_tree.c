#include "mount/ref_tree.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"

struct node {
	uint32_t id;
	bool is_dir;
	bool made;	  /* a directory that mkdir made and rmdir has not removed */
	uint64_t lookups; /* of the kernel */
	struct ingest_file *writer;
	size_t key_len;
	char key[]; /* 'd' or 'f', then the ref; NUL-terminated */
};

struct ref_tree {
	pthread_mutex_t lock;
	struct map by_key; /* protected by lock, like all below */
	struct map by_id;
	uint32_t last_id;
};

int ref_tree_new(struct ref_tree **ret)
{
	struct ref_tree *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	(void)pthread_mutex_init(&t->lock, NULL);
	map_init(&t->by_key);
	map_init(&t->by_id);
	*ret = t;
	return 0;
}

struct ref_tree *ref_tree_free(struct ref_tree *t)
{
	struct node *n;
	size_t pos = 0;

	if (t == NULL)
		return NULL;
	while ((n = map_next(&t->by_id, &pos)) != NULL)
		free(n);
	map_done(&t->by_key);
	map_done(&t->by_id);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

static struct node *find_locked(struct ref_tree *t, const char *ref, bool is_dir)
{
	char key[INGEST_REF_MAX + 4];
	size_t n = strlen(ref);

	if (n > INGEST_REF_MAX + 1)
		return NULL;
	key[0] = is_dir ? 'd' : 'f';
	memcpy(key + 1, ref, n); /* NOLINT(bugprone-not-null-terminated-result): bytes */
	return map_get(&t->by_key, key, n + 1);
}

static struct node *by_id_locked(struct ref_tree *t, uint32_t id)
{
	return map_get(&t->by_id, &id, sizeof(id));
}

static struct node *add_locked(struct ref_tree *t, const char *ref, bool is_dir)
{
	size_t n = strlen(ref);
	cleanup_free struct node *node = calloc(1, sizeof(*node) + n + 2);

	if (node == NULL)
		return NULL;
	do
		node->id = ++t->last_id;
	while (node->id == 0 || by_id_locked(t, node->id) != NULL);
	node->is_dir = is_dir;
	node->key_len = n + 1;
	node->key[0] = is_dir ? 'd' : 'f';
	memcpy(node->key + 1, ref, n + 1);
	if (map_put(&t->by_key, node->key, node->key_len, node) < 0)
		return NULL;
	if (map_put(&t->by_id, &node->id, sizeof(node->id), node) < 0) {
		(void)map_del(&t->by_key, node->key, node->key_len);
		return NULL;
	}
	return steal_ptr(node);
}

static void drop_if_unused_locked(struct ref_tree *t, struct node *n)
{
	if (n->lookups > 0 || n->made || n->writer != NULL)
		return;
	(void)map_del(&t->by_key, n->key, n->key_len);
	(void)map_del(&t->by_id, &n->id, sizeof(n->id));
	free(n);
}

uint32_t ref_tree_ref(struct ref_tree *t, const char *ref, bool is_dir)
{
	struct node *n;
	uint32_t id = 0;

	(void)pthread_mutex_lock(&t->lock);
	n = find_locked(t, ref, is_dir);
	if (n == NULL)
		n = add_locked(t, ref, is_dir);
	if (n != NULL) {
		n->lookups++;
		id = n->id;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return id;
}

bool ref_tree_get(struct ref_tree *t, uint32_t id, struct ref_info *ret)
{
	struct node *n;

	(void)pthread_mutex_lock(&t->lock);
	n = by_id_locked(t, id);
	if (n != NULL) {
		ret->is_dir = n->is_dir;
		memcpy(ret->ref, n->key + 1, n->key_len);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return n != NULL;
}

void ref_tree_forget(struct ref_tree *t, uint32_t id, uint64_t count)
{
	struct node *n;

	(void)pthread_mutex_lock(&t->lock);
	n = by_id_locked(t, id);
	if (n != NULL) {
		n->lookups = count < n->lookups ? n->lookups - count : 0;
		drop_if_unused_locked(t, n);
	}
	(void)pthread_mutex_unlock(&t->lock);
}

size_t ref_tree_count(struct ref_tree *t)
{
	size_t n;

	(void)pthread_mutex_lock(&t->lock);
	n = t->by_id.n_used;
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

int ref_tree_mkdir(struct ref_tree *t, const char *prefix)
{
	struct node *n;
	int r = 0;

	(void)pthread_mutex_lock(&t->lock);
	n = find_locked(t, prefix, true);
	if (n != NULL && n->made)
		r = -EEXIST;
	else if (n == NULL && (n = add_locked(t, prefix, true)) == NULL)
		r = -ENOMEM;
	else
		n->made = true;
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

/* The part of a made directory's prefix behind prefix, if it lies below; else NULL. */
static const char *below(const struct node *n, const char *prefix)
{
	size_t len = strlen(prefix);

	if (!n->is_dir || !n->made || strncmp(n->key + 1, prefix, len) != 0 ||
	    n->key[1 + len] == '\0')
		return NULL;
	return n->key + 1 + len;
}

int ref_tree_rmdir(struct ref_tree *t, const char *prefix)
{
	struct node *n, *other;
	size_t pos = 0;
	int r = 0;

	(void)pthread_mutex_lock(&t->lock);
	n = find_locked(t, prefix, true);
	if (n == NULL || !n->made)
		r = -ENOENT;
	while (r == 0 && (other = map_next(&t->by_id, &pos)) != NULL)
		if (below(other, prefix) != NULL)
			r = -ENOTEMPTY;
	if (r == 0) {
		n->made = false;
		drop_if_unused_locked(t, n);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

bool ref_tree_is_dir(struct ref_tree *t, const char *prefix)
{
	const struct node *n;
	bool is;

	(void)pthread_mutex_lock(&t->lock);
	n = find_locked(t, prefix, true);
	is = n != NULL && n->made;
	(void)pthread_mutex_unlock(&t->lock);
	return is;
}

bool ref_tree_is_deeper(struct ref_tree *t, const char *prefix, const char *ref)
{
	const struct node *n;
	size_t pos = 0;
	bool deeper = false;

	(void)pthread_mutex_lock(&t->lock);
	while (!deeper && (n = map_next(&t->by_id, &pos)) != NULL)
		deeper = below(n, prefix) != NULL && strncmp(ref, n->key + 1, n->key_len - 1) == 0;
	(void)pthread_mutex_unlock(&t->lock);
	return deeper;
}

int ref_tree_subdirs(struct ref_tree *t, const char *prefix, int (*fn)(void *arg, const char *name),
		     void *arg)
{
	const struct node *n;
	size_t pos = 0;
	int r = 0;

	(void)pthread_mutex_lock(&t->lock);
	while (r == 0 && (n = map_next(&t->by_id, &pos)) != NULL) {
		const char *rest = below(n, prefix);
		char name[INGEST_REF_MAX + 2];
		size_t len;

		if (rest == NULL)
			continue;
		len = strcspn(rest, "/");
		if (rest[len + 1] != '\0')
			continue; /* deeper than one level */
		memcpy(name, rest, len);
		name[len] = '\0';
		r = fn(arg, name);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

int ref_tree_set_writer(struct ref_tree *t, uint32_t id, struct ingest_file *writer)
{
	struct node *n;
	int r = 0;

	(void)pthread_mutex_lock(&t->lock);
	n = by_id_locked(t, id);
	if (n == NULL)
		r = -ENOENT;
	else if (n->writer != NULL)
		r = -EBUSY;
	else
		n->writer = writer;
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

struct ingest_file *ref_tree_writer(struct ref_tree *t, const char *ref,
				    struct ingest_file *(*ref_fn)(struct ingest_file *f))
{
	const struct node *n;
	struct ingest_file *w = NULL;

	(void)pthread_mutex_lock(&t->lock);
	n = find_locked(t, ref, false);
	if (n != NULL && n->writer != NULL)
		w = ref_fn(n->writer);
	(void)pthread_mutex_unlock(&t->lock);
	return w;
}

void ref_tree_clear_writer(struct ref_tree *t, const char *ref, const struct ingest_file *writer)
{
	struct node *n;

	(void)pthread_mutex_lock(&t->lock);
	n = find_locked(t, ref, false);
	if (n != NULL && n->writer == writer) {
		n->writer = NULL;
		drop_if_unused_locked(t, n);
	}
	(void)pthread_mutex_unlock(&t->lock);
}
