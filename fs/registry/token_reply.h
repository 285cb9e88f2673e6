/*
 * What a token server answers (Docker's "Token Authentication Specification" and its OAuth2
 * twin). Threads: pure function.
 */
#ifndef REGISTRY_TOKEN_REPLY_H
#define REGISTRY_TOKEN_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TOKEN_MAX_BYTES ((size_t)256 << 10)

/*
 * Returns 0, a token (visible ASCII alone, to be freed) and how long it lives, 60 s where nobody
 * says; -EPROTO (no JSON, no token in it, one that no header can hold) or -ENOMEM.
 */
int token_reply_parse(const char *text, size_t len, char **ret_token, uint64_t *ret_life_ms,
		      struct err *err);

#endif
