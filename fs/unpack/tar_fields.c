#include "unpack/tar_fields.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum tar_dialect tar_dialect(const uint8_t *block)
{
	const uint8_t *magic = block + TAR_AT_MAGIC;

	if (memcmp(magic, "ustar  ", 8) == 0)
		return TAR_GNU;
	if (memcmp(magic, "ustar", 6) != 0)
		return TAR_V7;
	return memcmp(block + TAR_AT_STAR_MAGIC, "tar", 4) == 0 ? TAR_STAR : TAR_USTAR;
}

int tar_checksum_ok(const uint8_t *block)
{
	int64_t want, plain = 8L * ' ', with_sign = 8L * ' ';

	if (tar_number(block + TAR_AT_CHECKSUM, 8, &want) < 0)
		return false;
	for (int i = 0; i < 512; i++) {
		if (i >= TAR_AT_CHECKSUM && i < TAR_AT_CHECKSUM + 8)
			continue;
		plain += block[i];
		with_sign += (int8_t)block[i];
	}
	return want == plain || want == with_sign;
}

/* Two's complement, big endian; the first bit says that it is base 256 and is not part of it. */
static int base_256(const uint8_t *p, size_t n, int64_t *ret)
{
	bool negative = (p[0] & 0x40) != 0;
	uint64_t v = negative ? UINT64_MAX : 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t byte = i > 0 ? p[i] : (uint8_t)(negative ? p[0] | 0x80 : p[0] & 0x7f);

		/* What is shifted out must be copies of the sign. */
		if (v >> 55 != (negative ? 0x1ff : 0))
			return -ERANGE;
		v = v << 8 | byte;
	}
	*ret = (int64_t)v;
	return 0;
}

int tar_number(const uint8_t *p, size_t n, int64_t *ret)
{
	uint64_t v = 0;

	if (n > 0 && (p[0] & 0x80) != 0)
		return base_256(p, n, ret);
	while (n > 0 && (*p == ' ' || *p == '\0')) {
		p++;
		n--;
	}
	for (; n > 0 && *p >= '0' && *p <= '7'; p++, n--)
		v = v << 3 | (uint64_t)(*p - '0'); /* 12 digits at most: 36 bits */
	for (; n > 0; p++, n--)
		if (*p != ' ' && *p != '\0')
			return -EINVAL;
	*ret = (int64_t)v;
	return 0;
}
