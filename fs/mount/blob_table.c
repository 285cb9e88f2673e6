#include "mount/blob_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define SLAB_NODES 4096 /* nodes live in slabs so that they never move and cost no malloc each */
#define LOOKUPS_MAX 0x3fffffffU

struct node {
	struct digest digest;
	uint32_t next; /* in its bucket or in the free list; 0 ends it */
	uint32_t pending : 1;
	uint32_t spoilt : 1;   /* in no bucket: blob_table_spoil() */
	uint32_t lookups : 30; /* 0: free. Stuck at LOOKUPS_MAX: never freed, which is safe */
};

struct blob_table {
	pthread_mutex_t lock;
	struct node **slabs; /* protected by lock, like all below; node n is in slab (n-1)/4096 */
	uint32_t n_slabs;
	uint32_t *buckets;
	uint32_t n_buckets; /* a power of two */
	uint32_t n_nodes;
	uint32_t free_list;
};

int blob_table_new(struct blob_table **ret)
{
	cleanup_free struct blob_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->n_buckets = 1024;
	t->buckets = calloc(t->n_buckets, sizeof(*t->buckets));
	if (t->buckets == NULL)
		return -ENOMEM;
	(void)pthread_mutex_init(&t->lock, NULL);
	*ret = steal_ptr(t);
	return 0;
}

struct blob_table *blob_table_free(struct blob_table *t)
{
	if (t == NULL)
		return NULL;
	for (uint32_t i = 0; i < t->n_slabs; i++)
		free(t->slabs[i]);
	free(t->slabs);
	free(t->buckets);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

static struct node *node_at(const struct blob_table *t, uint32_t n)
{
	return &t->slabs[(n - 1) / SLAB_NODES][(n - 1) % SLAB_NODES];
}

/* A digest is its own hash; the last bytes, since blobs of one fan-out share the first. */
static uint32_t *bucket_of(const struct blob_table *t, const struct digest *d)
{
	uint32_t h;

	memcpy(&h, d->bytes + DIGEST_BYTES - sizeof(h), sizeof(h));
	return &t->buckets[h & (t->n_buckets - 1)];
}

static uint32_t find_locked(const struct blob_table *t, const struct digest *d, bool pending)
{
	for (uint32_t n = *bucket_of(t, d); n != 0; n = node_at(t, n)->next)
		if (node_at(t, n)->pending == pending && digest_equal(&node_at(t, n)->digest, d))
			return n;
	return 0;
}

static int add_slab_locked(struct blob_table *t)
{
	struct node **slabs = realloc(t->slabs, (t->n_slabs + 1) * sizeof(struct node *));

	if (slabs == NULL)
		return -ENOMEM;
	t->slabs = slabs;
	slabs[t->n_slabs] = calloc(SLAB_NODES, sizeof(struct node));
	if (slabs[t->n_slabs] == NULL)
		return -ENOMEM;
	t->n_slabs++;
	for (uint32_t i = 0; i < SLAB_NODES; i++) {
		uint32_t n = t->n_slabs * SLAB_NODES - i; /* so that low numbers come first */

		node_at(t, n)->next = t->free_list;
		t->free_list = n;
	}
	return 0;
}

/* Longer chains are only slower: without memory the old buckets stay. */
static void grow_buckets_locked(struct blob_table *t)
{
	uint32_t *old = t->buckets, n_old = t->n_buckets;
	uint32_t *bigger = calloc((size_t)n_old * 2, sizeof(*bigger));

	if (bigger == NULL)
		return;
	t->buckets = bigger;
	t->n_buckets = n_old * 2;
	for (uint32_t b = 0; b < n_old; b++) {
		uint32_t n = old[b];

		while (n != 0) {
			uint32_t next = node_at(t, n)->next;
			uint32_t *bucket = bucket_of(t, &node_at(t, n)->digest);

			node_at(t, n)->next = *bucket;
			*bucket = n;
			n = next;
		}
	}
	free(old);
}

uint32_t blob_table_ref(struct blob_table *t, const struct digest *d, bool pending)
{
	struct node *node;
	uint32_t n;

	(void)pthread_mutex_lock(&t->lock);
	n = find_locked(t, d, pending);
	if (n == 0) {
		if (t->free_list == 0 && add_slab_locked(t) < 0)
			goto out;
		if (t->n_nodes >= t->n_buckets)
			grow_buckets_locked(t);
		n = t->free_list;
		node = node_at(t, n);
		t->free_list = node->next;
		*node = (struct node){.digest = *d, .pending = pending, .next = *bucket_of(t, d)};
		*bucket_of(t, d) = n;
		t->n_nodes++;
	}
	if (node_at(t, n)->lookups < LOOKUPS_MAX)
		node_at(t, n)->lookups++;
out:
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

static bool valid_locked(const struct blob_table *t, uint32_t n)
{
	return n != 0 && n <= t->n_slabs * SLAB_NODES && node_at(t, n)->lookups > 0;
}

bool blob_table_get(struct blob_table *t, uint32_t n, struct digest *ret, bool *ret_pending)
{
	bool ok;

	(void)pthread_mutex_lock(&t->lock);
	ok = valid_locked(t, n) && !node_at(t, n)->spoilt;
	if (ok) {
		*ret = node_at(t, n)->digest;
		*ret_pending = node_at(t, n)->pending;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return ok;
}

static void unlink_locked(struct blob_table *t, uint32_t n)
{
	uint32_t *link = bucket_of(t, &node_at(t, n)->digest);

	while (*link != n)
		link = &node_at(t, *link)->next;
	*link = node_at(t, n)->next;
}

uint32_t blob_table_spoil(struct blob_table *t, const struct digest *d)
{
	uint32_t n;

	(void)pthread_mutex_lock(&t->lock);
	n = find_locked(t, d, /* pending= */ true);
	if (n != 0) {
		unlink_locked(t, n);
		node_at(t, n)->spoilt = true;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

bool blob_table_has(struct blob_table *t, const struct digest *d, bool pending)
{
	bool has;

	(void)pthread_mutex_lock(&t->lock);
	has = find_locked(t, d, pending) != 0;
	(void)pthread_mutex_unlock(&t->lock);
	return has;
}

void blob_table_forget(struct blob_table *t, uint32_t n, uint64_t count)
{
	(void)pthread_mutex_lock(&t->lock);
	if (valid_locked(t, n) && node_at(t, n)->lookups != LOOKUPS_MAX) {
		struct node *node = node_at(t, n);

		/* More than was counted would be a bug of the kernel's: end at zero. */
		node->lookups = count < node->lookups ? node->lookups - (uint32_t)count : 0;
		if (node->lookups == 0) {
			if (!node->spoilt)
				unlink_locked(t, n);
			node->next = t->free_list;
			t->free_list = n;
			t->n_nodes--;
		}
	}
	(void)pthread_mutex_unlock(&t->lock);
}

uint32_t blob_table_count(struct blob_table *t)
{
	uint32_t n;

	(void)pthread_mutex_lock(&t->lock);
	n = t->n_nodes;
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}
