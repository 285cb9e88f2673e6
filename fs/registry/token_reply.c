#include "registry/token_reply.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define DEFAULT_LIFE_S 60
#define MAX_LIFE_S 86400

static int is_visible(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s < 0x21 || *s > 0x7e)
			return 0;
	return 1;
}

int token_reply_parse(const char *text, size_t len, char **ret_token, uint64_t *ret_life_ms,
		      struct err *err)
{
	json_t *o = len <= 2 * TOKEN_MAX_BYTES ? json_loadb(text, len, 0, NULL) : NULL;
	const char *token = json_string_value(json_object_get(o, "token"));
	double life_s = json_number_value(json_object_get(o, "expires_in"));
	char *copy;

	if (token == NULL || *token == '\0')
		token = json_string_value(json_object_get(o, "access_token"));
	if (token == NULL || *token == '\0' || strlen(token) > TOKEN_MAX_BYTES ||
	    !is_visible(token)) {
		json_decref(o);
		return err_set(err, EPROTO, "no token in the reply of the token server");
	}
	copy = strdup(token);
	json_decref(o);
	if (copy == NULL)
		return err_set(err, ENOMEM, "out of memory");
	if (!(life_s > 0))
		life_s = DEFAULT_LIFE_S;
	*ret_life_ms = (uint64_t)((life_s < MAX_LIFE_S ? life_s : MAX_LIFE_S) * 1000);
	*ret_token = copy;
	return 0;
}
