/*
 * A packed stream, in pieces whose size the first byte gives. What comes out is bounded, for the
 * fuzzer's own sake.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "unpack/decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_OUT ((size_t)4 << 20)

struct pieces {
	const uint8_t *p;
	size_t n, piece;
	uint8_t *last; /* freed when the next one is asked for, so that ASan sees a late look */
};

static ssize_t next_piece(void *arg, const uint8_t **ret, struct err *err)
{
	struct pieces *s = arg;
	size_t n = s->n < s->piece ? s->n : s->piece;

	(void)err;
	free(s->last);
	s->last = malloc(n > 0 ? n : 1);
	if (s->last == NULL)
		abort();
	memcpy(s->last, s->p, n);
	s->p += n;
	s->n -= n;
	*ret = s->last;
	return (ssize_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[64 << 10];
	struct pieces s = {.p = data + 1, .n = size - 1};
	struct decoder *d = NULL;
	struct bytes in;
	struct err err = {0};
	size_t sum = 0;
	ssize_t n;

	if (size == 0)
		return 0;
	s.piece = data[0] == 0 ? size : data[0];
	bytes_init(&in, next_piece, &s);
	if (decoder_new(&in, /* max_window= */ 1 << 20, &d, &err) == 0)
		while (sum < MAX_OUT && (n = decoder_read(d, out, sizeof(out), &err)) > 0)
			sum += (size_t)n;
	(void)decoder_free(d);
	free(s.last);
	return 0;
}
