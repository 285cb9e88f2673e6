#include "unpack/bytes.h"

#include <string.h>

ssize_t bytes_read(struct bytes *b, void *buf, size_t n, struct err *err)
{
	size_t done = 0;

	while (done < n) {
		int r = bytes_fill(b, err);
		size_t part = n - done < b->n ? n - done : b->n;

		if (r < 0)
			return r;
		if (r == 0)
			break;
		memcpy((uint8_t *)buf + done, b->p, part);
		bytes_skip(b, part);
		done += part;
	}
	return (ssize_t)done;
}

int bytes_pass(struct bytes *b, uint64_t n, struct err *err)
{
	while (n > 0) {
		int r = bytes_fill(b, err);
		size_t part = n < b->n ? (size_t)n : b->n;

		if (r <= 0)
			return r;
		bytes_skip(b, part);
		n -= part;
	}
	return 1;
}
