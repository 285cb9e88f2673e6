/*
 * What an image runs on, in Go's words (GOOS, GOARCH): "linux/amd64", "linux/arm64/v8".
 *
 *   platform_parse or platform_host -> platform_rank against what an image says it is for
 *
 * A platform is normalised as containerd does it: aarch64 is arm64, x86_64 is amd64, arm without a
 * variant is v7, and the variants that say nothing (arm64/v8, amd64/v1) are left out.
 *
 * Threads: pure functions.
 */
#ifndef OCI_PLATFORM_H
#define OCI_PLATFORM_H

#include <jansson.h>

#include "base/err.h"

#define PLATFORM_TEXT_MAX 112

struct platform {
	char os[32]; /* "" when nobody said */
	char arch[32];
	char variant[32];
	char os_version[64]; /* Windows alone has one */
};

/*
 * "os/arch", "os/arch/variant", or one of the two words alone, the host's standing for the other.
 * Normalised. Returns 0 or -EINVAL.
 */
int platform_parse(const char *text, struct platform *ret, struct err *err);

/* Ours. */
void platform_host(struct platform *ret);

void platform_normalise(struct platform *p);

/*
 * From the "os", "architecture", "variant" and "os.version" that stand in o, normalised.
 * Returns 0, -EBADMSG or -E2BIG.
 */
int platform_from_json(const json_t *o, struct platform *ret, struct err *err);

/* "linux/arm/v7"; "unknown" where there is no os. */
void platform_format(const struct platform *p, char out[PLATFORM_TEXT_MAX]);

/*
 * How well a machine that is `want` runs what is made for `have`, both normalised: 0 best, more is
 * worse (an older variant, 386 on amd64, arm on arm64), -1 not at all.
 */
int platform_rank(const struct platform *want, const struct platform *have);

#endif
