#include "unpack/key_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

int key_set_init(struct key_set *s)
{
	*s = (struct key_set){0};
	return getrandom(&s->seed, sizeof(s->seed), 0) < 0 ? -errno : 0;
}

void key_set_done(struct key_set *s)
{
	free(s->slots);
	*s = (struct key_set){0};
}

uint64_t key_set_key(const struct key_set *s, enum key_fact fact, dev_t dev, ino_t ino,
		     const char *name)
{
	char bytes[3 * sizeof(uint64_t) + 255];
	uint64_t head[3] = {(uint64_t)fact, (uint64_t)dev, (uint64_t)ino};
	size_t n = strnlen(name, 255);
	uint64_t key;

	memcpy(bytes, head, sizeof(head));
	memcpy(bytes + sizeof(head), name, n);
	key = XXH3_64bits_withSeed(bytes, sizeof(head) + n, s->seed);
	return key != 0 ? key : 1;
}

/* Where key is, or the empty slot where it would be. */
static size_t slot_of(const uint64_t *slots, size_t n_slots, uint64_t key)
{
	size_t at = (size_t)key & (n_slots - 1);

	while (slots[at] != 0 && slots[at] != key)
		at = (at + 1) & (n_slots - 1);
	return at;
}

static int grow(struct key_set *s)
{
	size_t n_slots = s->n_slots == 0 ? 1024 : 2 * s->n_slots;
	uint64_t *slots = calloc(n_slots, sizeof(*slots));

	if (slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_slots; i++)
		if (s->slots[i] != 0)
			slots[slot_of(slots, n_slots, s->slots[i])] = s->slots[i];
	free(s->slots);
	s->slots = slots;
	s->n_slots = n_slots;
	return 0;
}

int key_set_add(struct key_set *s, uint64_t key)
{
	size_t at;

	if (key_set_has(s, key))
		return 0;
	if (s->n == KEY_SET_MAX)
		return -E2BIG;
	if (s->n >= s->n_slots / 4 * 3) {
		int r = grow(s);

		if (r < 0)
			return r;
	}
	at = slot_of(s->slots, s->n_slots, key);
	s->slots[at] = key;
	s->n++;
	return 0;
}

bool key_set_has(const struct key_set *s, uint64_t key)
{
	return s->n > 0 && s->slots[slot_of(s->slots, s->n_slots, key)] == key;
}
