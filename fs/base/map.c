#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void map_init(struct map *m)
{
	*m = (struct map){0};
}

void map_done(struct map *m)
{
	free(m->slots);
	map_init(m);
}

static uint32_t hash_of(const void *key, size_t len)
{
	return (uint32_t)XXH3_64bits(key, len);
}

/* The slot of the key, or the empty one where it would go. At least one slot is empty. */
static size_t find(const struct map *m, const void *key, size_t len, uint32_t hash)
{
	size_t i = hash & (m->n_slots - 1);

	for (;; i = (i + 1) & (m->n_slots - 1)) {
		const struct map_slot *s = &m->slots[i];

		if (s->key == NULL ||
		    (s->hash == hash && s->key_len == len && memcmp(s->key, key, len) == 0))
			return i;
	}
}

void *map_get(const struct map *m, const void *key, size_t key_len)
{
	const struct map_slot *s;

	if (m->n_slots == 0)
		return NULL;
	s = &m->slots[find(m, key, key_len, hash_of(key, key_len))];
	return s->key != NULL ? s->value : NULL;
}

static int grow(struct map *m)
{
	struct map bigger = {.n_slots = m->n_slots > 0 ? m->n_slots * 2 : 16, .n_used = m->n_used};

	bigger.slots = calloc(bigger.n_slots, sizeof(*bigger.slots));
	if (bigger.slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_slots; i++) {
		const struct map_slot *s = &m->slots[i];

		if (s->key != NULL)
			bigger.slots[find(&bigger, s->key, s->key_len, s->hash)] = *s;
	}
	free(m->slots);
	*m = bigger;
	return 0;
}

int map_put(struct map *m, const void *key, size_t key_len, void *value)
{
	uint32_t hash = hash_of(key, key_len);
	struct map_slot *s;

	if (m->n_used + 1 > m->n_slots / 4 * 3) {
		int r = grow(m);

		if (r < 0)
			return r;
	}
	s = &m->slots[find(m, key, key_len, hash)];
	if (s->key == NULL)
		m->n_used++;
	*s = (struct map_slot){
		.key = key, .value = value, .hash = hash, .key_len = (uint32_t)key_len};
	return 0;
}

void *map_del(struct map *m, const void *key, size_t key_len)
{
	size_t i, j;
	void *value;

	if (m->n_slots == 0)
		return NULL;
	i = find(m, key, key_len, hash_of(key, key_len));
	if (m->slots[i].key == NULL)
		return NULL;
	value = m->slots[i].value;
	/* Close the gap: move back every follower whose own place is at or before the gap. */
	for (j = (i + 1) & (m->n_slots - 1); m->slots[j].key != NULL;
	     j = (j + 1) & (m->n_slots - 1)) {
		size_t home = m->slots[j].hash & (m->n_slots - 1);

		if (((j - home) & (m->n_slots - 1)) >= ((j - i) & (m->n_slots - 1))) {
			m->slots[i] = m->slots[j];
			i = j;
		}
	}
	m->slots[i] = (struct map_slot){0};
	m->n_used--;
	return value;
}

void *map_next(const struct map *m, size_t *pos)
{
	while (*pos < m->n_slots) {
		const struct map_slot *s = &m->slots[(*pos)++];

		if (s->key != NULL)
			return s->value;
	}
	return NULL;
}
