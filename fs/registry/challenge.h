/*
 * WWW-Authenticate (RFC 9110 section 11.6.1) and which of its challenges we answer: Bearer
 * (RFC 6750, as Docker's token specification fills it) before Basic, others never.
 *
 *   struct challenge c = {0}; challenge_parse(value of each such field, &c) -> c.scheme
 *
 * Threads: pure function.
 */
#ifndef REGISTRY_CHALLENGE_H
#define REGISTRY_CHALLENGE_H

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

struct challenge {
	enum challenge_scheme scheme;
	char realm[2048]; /* Bearer: the URL of the token server */
	char service[512];
	char scope[2048]; /* space separated */
	char error[64];
};

/*
 * Take what one field says into account: *c becomes the best of the challenges seen so far. A
 * Bearer challenge without realm, or one that does not fit, is no challenge. Returns 0, or
 * -EINVAL when the field cannot be read to its end; what stood before counts.
 */
int challenge_parse(const char *s, struct challenge *c);

#endif
