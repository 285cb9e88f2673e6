/*
 * A hash map from bytes (a digest, a ref) to a pointer; XXH3 over the key, open addressing.
 *
 *   struct map m; map_init(&m) -> map_put/map_get/map_del ... -> map_done(&m)
 *
 * Keys are not copied: they live in the value they lead to, and stay put while it is in the
 * map. 24 bytes per slot, at most 3/4 full. Threads: the caller locks.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_slot {
	const void *key; /* NULL: empty */
	void *value;
	uint32_t hash;
	uint32_t key_len;
};

struct map {
	struct map_slot *slots;
	size_t n_slots; /* 0 or a power of two */
	size_t n_used;
};

void map_init(struct map *m);
void map_done(struct map *m);

/* NULL when absent. */
void *map_get(const struct map *m, const void *key, size_t key_len);

/* Add, or replace key and value of an equal key. Returns 0 or -ENOMEM. */
int map_put(struct map *m, const void *key, size_t key_len, void *value);

/* Returns the value that was removed, or NULL. */
void *map_del(struct map *m, const void *key, size_t key_len);

/*
 * Iterate in no order: size_t pos = 0; while ((v = map_next(m, &pos)) != NULL) ...
 * The map must not change meanwhile.
 */
void *map_next(const struct map *m, size_t *pos);

#endif
