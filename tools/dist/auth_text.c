#include "dist/auth_text.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "registry/credentials.h"

static void json_freep(json_t **o)
{
	json_decref(*o);
}

static int load(const char *text, size_t len, json_t **ret, struct err *err)
{
	json_error_t e;
	json_t *o = len > 0 ? json_loadb(text, len, 0, &e) : json_object();

	if (o == NULL && len == 0)
		return err_set(err, ENOMEM, "out of memory");
	if (o == NULL)
		return err_set(err, EBADMSG, "line %d, column %d: no JSON", e.line, e.column);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, EBADMSG, "not a JSON object");
	}
	*ret = o;
	return 0;
}

static int save(const json_t *o, char **ret, struct err *err)
{
	char *text = json_dumps(o, JSON_INDENT(8));

	if (text == NULL)
		return err_set(err, ENOMEM, "out of memory");
	*ret = text;
	return 0;
}

int auth_text_helper(const char *text, size_t len, const char *key, char *out, size_t n,
		     struct err *err)
{
	cleanup(json_freep) json_t *o = NULL;
	const char *name;
	int r = load(text, len, &o, err);

	if (r < 0)
		return r;
	name = json_string_value(json_object_get(json_object_get(o, "credHelpers"), key));
	if (name == NULL)
		name = json_string_value(json_object_get(o, "credsStore"));
	if (name == NULL)
		name = "";
	if (strlen(name) >= n)
		return err_set(err, EBADMSG, "no credential helper can be called \"%.100s\"", name);
	(void)snprintf(out, n, "%s", name);
	return 0;
}

/* base64("user:password") */
static char *encode(const char *user, const char *password)
{
	cleanup_free char *plain = NULL;
	char *out;
	int n = asprintf(&plain, "%s:%s", user, password);

	if (n < 0) {
		plain = NULL;
		return NULL;
	}
	out = malloc(((size_t)n + 2) / 3 * 4 + 1);
	if (out != NULL)
		(void)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)plain, n);
	explicit_bzero(plain, (size_t)n);
	return out;
}

int auth_text_set(const char *text, size_t len, const char *key, const char *user,
		  const char *password, char **ret, struct err *err)
{
	cleanup(json_freep) json_t *o = NULL;
	cleanup_free char *auth = encode(user, password);
	json_t *auths;
	int r = load(text, len, &o, err);

	if (r < 0)
		return r;
	auths = json_object_get(o, "auths");
	if (!json_is_object(auths)) {
		auths = json_object();
		if (json_object_set_new(o, "auths", auths) < 0)
			return err_set(err, ENOMEM, "out of memory");
	}
	if (auth == NULL || json_object_set_new(auths, key, json_pack("{s:s}", "auth", auth)) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return save(o, ret, err);
}

int auth_text_remove(const char *text, size_t len, const char *host, char **ret, struct err *err)
{
	cleanup(json_freep) json_t *o = NULL;
	json_t *auths, *v;
	bool found = false;
	const char *key;
	void *next;
	int r = load(text, len, &o, err);

	if (r < 0)
		return r;
	auths = json_object_get(o, "auths");
	json_object_foreach_safe(auths, next, key, v)
	{
		if (!credentials_is_key(key, host))
			continue;
		(void)json_object_del(auths, key);
		found = true;
	}
	*ret = NULL;
	return found ? save(o, ret, err) : 0;
}
