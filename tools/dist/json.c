#include "dist/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/hex.h"
#include "base/tabs.h"

static int set(json_t *o, const char *key, json_t *v)
{
	return v == NULL || json_object_set_new(o, key, v) < 0 ? -ENOMEM : 0;
}

int json_out_text(json_t *o, const char *key, const char *text)
{
	cleanup_buf struct buf escaped, hex;
	json_t *v = json_string(text); /* NULL where it is no UTF-8, too */
	size_t n = strlen(text);
	char name[64];
	int r;

	buf_init(&escaped, 64 << 10);
	buf_init(&hex, 64 << 10);
	if (v != NULL)
		return set(o, key, v);
	r = tabs_escape(text, &escaped, NULL);
	if (r == 0)
		r = buf_reserve(&hex, 2 * n);
	if (r < 0)
		return r;
	hex_encode(text, n, hex.data);
	(void)snprintf(name, sizeof(name), "%s_hex", key);
	r = set(o, key, json_string(escaped.data));
	return r < 0 ? r : set(o, name, json_string(hex.data));
}

int json_out_time(json_t *o, const char *key, int64_t wall_ns)
{
	char text[64];

	clock_format_rfc3339(wall_ns, text, sizeof(text));
	return set(o, key, json_string(text));
}

int json_out_digest(json_t *o, const char *key, const struct digest *d)
{
	return set(o, key, json_string(digest_text(d).s));
}

int json_out_size(json_t *o, const char *key, uint64_t n)
{
	return set(o, key, json_integer((json_int_t)n));
}

int json_out_print(const struct cli_program *p, json_t *v)
{
	cleanup_free char *text = v != NULL ? json_dumps(v, JSON_INDENT(2)) : NULL;

	json_decref(v);
	if (text == NULL)
		return cli_fail(p, NULL, NULL, -ENOMEM);
	printf("%s\n", text);
	return CLI_OK;
}
