/*
 * What stands in docker's config.json, and changes to it: text in, text out. Keys that are not ours
 * are kept as they are; an empty text is an empty object.
 *
 *   {"auths": {"registry.example:5000": {"auth": base64("user:password")}},
 *    "credHelpers": {"other.example": "pass"}, "credsStore": "secretservice"}
 *
 * What a failure is told of never quotes the text: a secret, perhaps.
 *
 * Threads: any.
 */
#ifndef DIST_AUTH_TEXT_H
#define DIST_AUTH_TEXT_H

#include <stddef.h>

#include "base/err.h"

/*
 * The credential helper that it wants for key: "pass" for docker-credential-pass; "" where it wants
 * none. Returns 0, -EBADMSG (no JSON object, a name that does not fit into n bytes) or -ENOMEM.
 */
int auth_text_helper(const char *text, size_t len, const char *key, char *out, size_t n,
		     struct err *err);

/* It with user and password for key; *ret is the caller's. Returns 0, -EBADMSG or -ENOMEM. */
int auth_text_set(const char *text, size_t len, const char *key, const char *user,
		  const char *password, char **ret, struct err *err);

/*
 * It without whatever key stands for all of host (see credentials_is_key()); *ret is the caller's,
 * NULL when there was none. Returns 0, -EBADMSG or -ENOMEM.
 */
int auth_text_remove(const char *text, size_t len, const char *host, char **ret, struct err *err);

#endif
