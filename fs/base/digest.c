/*
 * OpenSSL's own struct SHA256_CTX instead of EVP: EVP gives no way to carry the state of a hash
 * over a restart (hasher_save). The struct is public in <openssl/sha.h> and its fields are those
 * of FIPS 180-4: the eight words of the hash, the length in bits, the block that is not full.
 * The functions are deprecated in favour of EVP, not gone, and run the same SHA-NI code.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/digest.h"

#include <assert.h>
#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"

int digest_parse_hex(const char *s, struct digest *ret)
{
	if (strnlen(s, DIGEST_HEX_LEN + 1) != DIGEST_HEX_LEN)
		return -EINVAL;
	return hex_decode(s, ret->bytes, DIGEST_BYTES);
}

int digest_parse(const char *s, struct digest *ret, struct err *err)
{
	const char *colon = strchr(s, ':');

	if (colon == NULL || colon == s)
		return err_set(err, EINVAL,
			       "invalid digest \"%.100s\": want sha256:<64 hex digits>", s);
	if (strncmp(s, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) != 0)
		return err_set(err, EOPNOTSUPP,
			       "unsupported digest algorithm \"%.*s\": this store holds sha256",
			       (int)(colon - s > 40 ? 40 : colon - s), s);
	if (strnlen(colon + 1, DIGEST_HEX_LEN + 1) != DIGEST_HEX_LEN)
		return err_set(err, EINVAL, "invalid digest length \"%.100s\": want 64 hex digits",
			       s);
	if (digest_parse_hex(colon + 1, ret) < 0)
		return err_set(err, EINVAL, "invalid digest \"%.100s\": want lower-case hex digits",
			       s);
	return 0;
}

bool digest_from_ref(const char *s, struct digest *ret)
{
	const char *at = strrchr(s, '@');

	return digest_parse(at != NULL ? at + 1 : s, ret, NULL) == 0;
}

struct digest_text digest_text(const struct digest *d)
{
	struct digest_text t;

	memcpy(t.s, DIGEST_PREFIX, strlen(DIGEST_PREFIX));
	digest_hex(d, t.s + strlen(DIGEST_PREFIX));
	return t;
}

void digest_hex(const struct digest *d, char *out)
{
	hex_encode(d->bytes, DIGEST_BYTES, out);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_BYTES) == 0;
}

int digest_compare(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_BYTES);
}

struct hasher {
	SHA256_CTX ctx;
};

int hasher_new(struct hasher **ret)
{
	struct hasher *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	hasher_reset(h);
	*ret = h;
	return 0;
}

/* SHA-256 has no way to fail: a failure is a bug of ours. */
void hasher_update(struct hasher *h, const void *p, size_t n)
{
	int ok = SHA256_Update(&h->ctx, p, n);

	assert(ok == 1);
}

void hasher_reset(struct hasher *h)
{
	int ok = SHA256_Init(&h->ctx);

	assert(ok == 1);
}

void hasher_final(struct hasher *h, struct digest *ret)
{
	hasher_peek(h, ret);
	hasher_reset(h);
}

void hasher_peek(const struct hasher *h, struct digest *ret)
{
	SHA256_CTX copy = h->ctx;
	int ok = SHA256_Final(ret->bytes, &copy);

	assert(ok == 1);
}

int hasher_save(const struct hasher *h, struct hasher_state *ret)
{
	uint64_t bits = (uint64_t)h->ctx.Nh << 32 | h->ctx.Nl;

	if (h->ctx.num != 0)
		return -EINVAL;
	ret->n_bytes = bits / 8;
	for (size_t i = 0; i < 8; i++)
		ret->words[i] = h->ctx.h[i];
	return 0;
}

int hasher_load(struct hasher *h, const struct hasher_state *st)
{
	uint64_t bits = st->n_bytes * 8;

	if (st->n_bytes % HASHER_BLOCK_BYTES != 0 || bits / 8 != st->n_bytes)
		return -EINVAL;
	hasher_reset(h);
	for (size_t i = 0; i < 8; i++)
		h->ctx.h[i] = st->words[i];
	h->ctx.Nl = (uint32_t)bits;
	h->ctx.Nh = (uint32_t)(bits >> 32);
	return 0;
}

struct hasher *hasher_free(struct hasher *h)
{
	free(h);
	return NULL;
}

int digest_of(const void *p, size_t n, struct digest *ret)
{
	struct hasher *h = NULL;
	int r = hasher_new(&h);

	if (r < 0)
		return r;
	hasher_update(h, p, n);
	hasher_final(h, ret);
	hasher_free(h);
	return 0;
}
