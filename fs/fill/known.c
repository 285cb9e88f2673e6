#include "fill/known.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"

/* Few: they come from people's configuration and from what images are made of. */
#define STRINGS_MAX 4096

struct known {
	struct map blobs;
	char **strings; /* [0] is "" */
	size_t n_strings;
};

int known_new(struct known **ret)
{
	struct known *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return -ENOMEM;
	map_init(&k->blobs);
	*ret = k;
	return 0;
}

struct known *known_free(struct known *k)
{
	struct known_blob *b;
	size_t pos = 0;

	if (k == NULL)
		return NULL;
	while ((b = known_next(k, &pos)) != NULL)
		free(b);
	map_done(&k->blobs);
	for (size_t i = 0; i < k->n_strings; i++)
		free(k->strings[i]);
	free(k->strings);
	free(k);
	return NULL;
}

/* Number of s, from 1; 0: nothing to be told, or one too many. */
static uint16_t number_of(struct known *k, const char *s)
{
	char **more;

	if (s == NULL || s[0] == '\0')
		return 0;
	for (size_t i = 0; i < k->n_strings; i++)
		if (strcmp(k->strings[i], s) == 0)
			return (uint16_t)(i + 1);
	if (k->n_strings == STRINGS_MAX)
		return 0;
	more = reallocarray(k->strings, k->n_strings + 1, sizeof(*more));
	if (more == NULL)
		return 0;
	k->strings = more;
	more[k->n_strings] = strdup(s);
	if (more[k->n_strings] == NULL)
		return 0;
	return (uint16_t)++k->n_strings;
}

int known_learn(struct known *k, const struct digest *d, uint64_t size, const char *mediatype,
		const char *source)
{
	struct known_blob *b = known_get(k, d);
	uint16_t n;

	if (b == NULL) {
		b = calloc(1, sizeof(*b));
		if (b == NULL)
			return -ENOMEM;
		b->digest = *d;
		if (map_put(&k->blobs, &b->digest, sizeof(b->digest), b) < 0) {
			free(b);
			return -ENOMEM;
		}
	}
	if (size != KNOWN_NO_SIZE) {
		b->size = size;
		b->sized = true;
	}
	n = number_of(k, mediatype);
	if (n != 0)
		b->mediatype_no = n;
	n = number_of(k, source);
	if (n != 0)
		b->source_no = n;
	return 0;
}

struct known_blob *known_get(const struct known *k, const struct digest *d)
{
	return map_get(&k->blobs, d, sizeof(*d));
}

static const char *string_of(const struct known *k, uint16_t no)
{
	return no > 0 ? k->strings[no - 1] : "";
}

const char *known_mediatype(const struct known *k, const struct known_blob *b)
{
	return string_of(k, b->mediatype_no);
}

const char *known_source(const struct known *k, const struct known_blob *b)
{
	return string_of(k, b->source_no);
}

struct known_blob *known_next(const struct known *k, size_t *pos)
{
	return map_next(&k->blobs, pos);
}
