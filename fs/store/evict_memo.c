#include "store/evict_memo.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FIRST_SLOTS 1024
#define TAG_MASK 0x7fffffffU

/* A slot: tag (31 bits, also where it goes), stamp (32 bits), the bit. Never 0, see stamp_of(). */
static uint64_t slot_make(uint32_t tag, uint32_t stamp, bool bit)
{
	return (uint64_t)tag << 33 | (uint64_t)stamp << 1 | bit;
}

static uint32_t slot_tag(uint64_t slot)
{
	return (uint32_t)(slot >> 33);
}

/* A digest is its own hash. */
static uint32_t tag_of(const struct digest *d)
{
	uint32_t tag;

	memcpy(&tag, d->bytes, sizeof(tag));
	return tag & TAG_MASK;
}

/* Labels are replaced by rename: another inode, another ctime. */
static uint32_t stamp_of(const struct stat *st)
{
	const uint64_t words[] = {st->st_ino, (uint64_t)st->st_ctim.tv_sec,
				  (uint64_t)st->st_ctim.tv_nsec, (uint64_t)st->st_size};
	uint32_t h = (uint32_t)XXH3_64bits(words, sizeof(words));

	return h != 0 ? h : 1;
}

/* The slot of tag, or the empty one where it would be. */
static uint64_t *find(const struct evict_memo *m, uint32_t tag)
{
	size_t i = tag & (m->n_slots - 1);

	while (m->slots[i] != 0 && slot_tag(m->slots[i]) != tag)
		i = (i + 1) & (m->n_slots - 1);
	return &m->slots[i];
}

int evict_memo_get(const struct evict_memo *m, const struct digest *d, const struct stat *label)
{
	uint32_t tag = tag_of(d);
	uint64_t slot;

	if (m->n_slots == 0)
		return -1;
	slot = *find(m, tag);
	return slot >> 1 == slot_make(tag, stamp_of(label), false) >> 1 ? (int)(slot & 1) : -1;
}

/* At most 7/8 full. */
static bool make_room(struct evict_memo *m)
{
	struct evict_memo bigger = {.n_slots = m->n_slots > 0 ? m->n_slots * 2 : FIRST_SLOTS};

	if (m->n_slots > 0 && m->n_used < m->n_slots / 8 * 7)
		return true;
	bigger.slots = calloc(bigger.n_slots, sizeof(*bigger.slots));
	if (bigger.slots == NULL)
		return false;
	for (size_t i = 0; i < m->n_slots; i++)
		if (m->slots[i] != 0)
			*find(&bigger, slot_tag(m->slots[i])) = m->slots[i];
	free(m->slots);
	m->slots = bigger.slots;
	m->n_slots = bigger.n_slots;
	return true;
}

void evict_memo_put(struct evict_memo *m, const struct digest *d, const struct stat *label,
		    bool bit)
{
	uint32_t tag = tag_of(d);
	uint64_t *slot;

	if (!make_room(m))
		return;
	slot = find(m, tag);
	m->n_used += *slot == 0;
	*slot = slot_make(tag, stamp_of(label), bit);
}

void evict_memo_reset(struct evict_memo *m)
{
	free(m->slots);
	*m = (struct evict_memo){0};
}
