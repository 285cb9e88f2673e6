/*
 * TOML 1.0 (toml.io/en/v1.0.0), as much of it as hosts.toml files are written in, into jansson's
 * values: tables are objects in the order of the file, arrays arrays, strings, integers and
 * booleans what they are called. Floats and dates are recognised and become null.
 *
 *   toml_parse(text, len, &root, &err) -> json_object_get(root, "host") ... -> json_decref(root)
 *
 * Threads: pure function.
 */
#ifndef REGISTRY_TOML_H
#define REGISTRY_TOML_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

#define TOML_MAX_BYTES ((size_t)1 << 20)

/*
 * Returns 0 and the root table, the caller's; -EBADMSG (syntax, a key defined twice, deeper
 * than 32 levels; the message says "line N: ..."), -E2BIG or -ENOMEM.
 */
int toml_parse(const char *text, size_t len, json_t **ret, struct err *err);

#endif
