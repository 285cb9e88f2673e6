#include "base/digest.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
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
	EVP_MD_CTX *ctx;
};

int hasher_new(struct hasher **ret)
{
	cleanup_free struct hasher *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->ctx = EVP_MD_CTX_new();
	if (h->ctx == NULL || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(h->ctx);
		return -ENOMEM;
	}
	*ret = steal_ptr(h);
	return 0;
}

/* Past its initialisation EVP's SHA-256 has no way to fail: a failure is a bug of ours. */
void hasher_update(struct hasher *h, const void *p, size_t n)
{
	int ok = EVP_DigestUpdate(h->ctx, p, n);

	assert(ok == 1);
}

void hasher_reset(struct hasher *h)
{
	int ok = EVP_DigestInit_ex(h->ctx, NULL, NULL);

	assert(ok == 1);
}

void hasher_final(struct hasher *h, struct digest *ret)
{
	int ok = EVP_DigestFinal_ex(h->ctx, ret->bytes, NULL);

	assert(ok == 1);
	hasher_reset(h);
}

int hasher_peek(const struct hasher *h, struct digest *ret)
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	int ok = copy != NULL && EVP_MD_CTX_copy_ex(copy, h->ctx) == 1 &&
		 EVP_DigestFinal_ex(copy, ret->bytes, NULL) == 1;

	EVP_MD_CTX_free(copy);
	return ok ? 0 : -ENOMEM;
}

struct hasher *hasher_free(struct hasher *h)
{
	if (h != NULL)
		EVP_MD_CTX_free(h->ctx);
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
