/*
 * A set of facts about names and directories, 64 bits each: what this layer has unpacked, so that
 * a whiteout takes away only what lower layers left, in whatever order things come.
 *
 *   key_set_init(&s) -> key_set_add / key_set_has ... -> key_set_done(&s)
 *
 * Keys are hashes with a random seed: two facts that meet in one (n*n in 2^65) leave one name that
 * a whiteout should have taken. Threads: one at a time.
 */
#ifndef UNPACK_KEY_SET_H
#define UNPACK_KEY_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KEY_SET_MAX ((size_t)3 << 20) /* keys: 32 MiB of slots */

struct key_set {
	uint64_t *slots; /* 0: empty */
	size_t n_slots, n;
	uint64_t seed;
};

enum key_fact {
	KEY_NAME, /* name in the directory is of this layer */
	KEY_NEW,  /* the directory is, with all that is in it; name "" */
};

/* Returns 0, or from getrandom(2). */
int key_set_init(struct key_set *s);
void key_set_done(struct key_set *s);

/* The key of a fact about directory dev, ino and, in it, name (255 bytes are looked at). */
uint64_t key_set_key(const struct key_set *s, enum key_fact fact, dev_t dev, ino_t ino,
		     const char *name);

/* Returns 0, -ENOMEM or -E2BIG. */
int key_set_add(struct key_set *s, uint64_t key);
bool key_set_has(const struct key_set *s, uint64_t key);

#endif
