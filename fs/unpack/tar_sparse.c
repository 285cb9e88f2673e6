#include "unpack/tar_sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512

void tar_sparse_init(struct tar_sparse *s)
{
	*s = (struct tar_sparse){0};
}

void tar_sparse_reset(struct tar_sparse *s)
{
	s->n = 0;
	s->half = false;
}

void tar_sparse_done(struct tar_sparse *s)
{
	free(s->extents);
	*s = (struct tar_sparse){0};
}

static int bad_map(struct err *err)
{
	return err_set(err, EBADMSG, "bad map of a sparse file");
}

int tar_sparse_add_number(struct tar_sparse *s, uint64_t n, struct err *err)
{
	if (s->half) {
		s->extents[s->n++].length = n;
		s->half = false;
		return 0;
	}
	if (s->n == TAR_SPARSE_MAX)
		return err_set(err, E2BIG, "a sparse file of more than %zu extents", s->n);
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 16 : 2 * s->cap;
		struct tar_extent *more = reallocarray(s->extents, cap, sizeof(*more));

		if (more == NULL)
			return err_set(err, ENOMEM, "out of memory");
		s->extents = more;
		s->cap = cap;
	}
	s->extents[s->n].offset = n;
	s->half = true;
	return 0;
}

/* A digit more; false when it would not fit. */
static bool add_digit(uint64_t *n, char digit)
{
	return !__builtin_mul_overflow(*n, 10, n) &&
	       !__builtin_add_overflow(*n, (uint64_t)(digit - '0'), n);
}

int tar_sparse_add_list(struct tar_sparse *s, const char *list, struct err *err)
{
	while (*list != '\0') {
		const char *begin = list;
		uint64_t n = 0;
		int r;

		for (; *list >= '0' && *list <= '9'; list++)
			if (!add_digit(&n, *list))
				return bad_map(err);
		if (list == begin || (*list != ',' && *list != '\0'))
			return bad_map(err);
		list += *list == ',';
		r = tar_sparse_add_number(s, n, err);
		if (r < 0)
			return r;
	}
	return s->half ? bad_map(err) : 0;
}

struct map_reader {
	struct bytes *in;
	uint64_t *left;
	char block[BLOCK];
	size_t at, n;
};

static int next_number(struct map_reader *m, uint64_t *ret, struct err *err)
{
	uint64_t n = 0;
	int digits = 0;

	for (;;) {
		char c;

		if (m->at == m->n) {
			ssize_t got;

			if (*m->left < BLOCK)
				return bad_map(err);
			got = bytes_read(m->in, m->block, BLOCK, err);
			if (got < 0)
				return (int)got;
			if (got < BLOCK)
				return err_set(err, EBADMSG, "cut short");
			*m->left -= BLOCK;
			m->at = 0;
			m->n = BLOCK;
		}
		c = m->block[m->at++];
		if (c == '\n' && digits > 0)
			break;
		if (c < '0' || c > '9' || !add_digit(&n, c))
			return bad_map(err);
		digits++;
	}
	*ret = n;
	return 0;
}

int tar_sparse_read_map(struct tar_sparse *s, struct bytes *in, uint64_t *data_left,
			struct err *err)
{
	struct map_reader m = {.in = in, .left = data_left};
	uint64_t count = 0, n = 0;
	int r = next_number(&m, &count, err);

	if (r == 0 && count > TAR_SPARSE_MAX)
		return err_set(err, E2BIG, "a sparse file of more than %zu extents",
			       TAR_SPARSE_MAX);
	for (uint64_t i = 0; r == 0 && i < 2 * count; i++) {
		r = next_number(&m, &n, err);
		if (r == 0)
			r = tar_sparse_add_number(s, n, err);
	}
	return r;
}

int tar_sparse_check(const struct tar_sparse *s, uint64_t size, uint64_t data, struct err *err)
{
	uint64_t end = 0, sum = 0;

	if (s->half)
		return bad_map(err);
	for (size_t i = 0; i < s->n; i++) {
		const struct tar_extent *x = &s->extents[i];

		if (x->offset < end || __builtin_add_overflow(x->offset, x->length, &end) ||
		    end > size)
			return bad_map(err);
		sum += x->length; /* <= size: they do not overlap */
	}
	return sum == data ? 0 : bad_map(err);
}
