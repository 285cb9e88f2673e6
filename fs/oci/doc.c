#include "oci/doc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * Bounds before jansson sees it: it recurses 2048 deep, and makes an object of over 100 bytes from
 * "[]". What is no JSON is left for it to refuse.
 */
static int check_bounds(const char *s, size_t len, struct err *err)
{
	size_t depth = 0, values = 1;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		if (quoted) {
			if (s[i] == '\\')
				i++;
			else
				quoted = s[i] != '"';
			continue;
		}
		quoted = s[i] == '"';
		values += s[i] == ',' || s[i] == '[' || s[i] == '{';
		if (s[i] == '[' || s[i] == '{')
			depth++;
		else if ((s[i] == ']' || s[i] == '}') && depth > 0)
			depth--;
		if (depth > DOC_DEPTH_MAX)
			return err_set(err, E2BIG, "nested deeper than %d", DOC_DEPTH_MAX);
		if (values > DOC_VALUES_MAX)
			return err_set(err, E2BIG, "more than %d values", DOC_VALUES_MAX);
	}
	return 0;
}

int doc_load(const void *buf, size_t len, size_t max_bytes, json_t **ret, struct err *err)
{
	json_error_t why;
	json_t *o;
	int r;

	if (len > max_bytes)
		return err_set(err, E2BIG, "%zu bytes, the limit is %zu", len, max_bytes);
	r = check_bounds(buf, len, err);
	if (r < 0)
		return r;
	o = json_loadb(buf, len, JSON_REJECT_DUPLICATES, &why);
	if (o == NULL && json_error_code(&why) == json_error_out_of_memory)
		return err_set(err, ENOMEM, "out of memory");
	if (o == NULL)
		return err_set(err, EBADMSG, "no JSON: line %d: %s", why.line, why.text);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, EBADMSG, "no JSON object");
	}
	*ret = o;
	return 0;
}

json_t *doc_get(const json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_null(v) ? NULL : v;
}

static int wrong_type(const char *key, const char *want, struct err *err)
{
	return err_set(err, EBADMSG, "\"%s\" is no %s", key, want);
}

int doc_object(const json_t *o, const char *key, json_t **ret, struct err *err)
{
	json_t *v = doc_get(o, key);

	if (v != NULL && !json_is_object(v))
		return wrong_type(key, "object", err);
	*ret = v;
	return 0;
}

int doc_array(const json_t *o, const char *key, size_t max, json_t **ret, struct err *err)
{
	json_t *v = doc_get(o, key);

	if (v != NULL && !json_is_array(v))
		return wrong_type(key, "array", err);
	if (json_array_size(v) > max)
		return err_set(err, E2BIG, "\"%s\" has %zu entries, the limit is %zu", key,
			       json_array_size(v), max);
	*ret = v;
	return 0;
}

int doc_string(const json_t *o, const char *key, size_t max, const char **ret, struct err *err)
{
	json_t *v = doc_get(o, key);

	if (v != NULL && !json_is_string(v))
		return wrong_type(key, "string", err);
	if (v != NULL && json_string_length(v) > max)
		return err_set(err, E2BIG, "\"%s\" is longer than %zu bytes", key, max);
	*ret = v != NULL ? json_string_value(v) : "";
	return 0;
}

int doc_copy_string(const json_t *o, const char *key, char *out, size_t n, struct err *err)
{
	const char *s = "";
	int r = doc_string(o, key, n - 1, &s, err);

	if (r == 0)
		(void)snprintf(out, n, "%s", s);
	return r;
}

int doc_size(const json_t *o, const char *key, uint64_t *ret, struct err *err)
{
	json_t *v = doc_get(o, key);

	if (v == NULL)
		return err_set(err, EBADMSG, "\"%s\" is missing", key);
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return wrong_type(key, "size", err);
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

int doc_digest(const json_t *v, struct digest *ret, struct err *err)
{
	struct err why = {0};
	int r;

	if (!json_is_string(v))
		return err_set(err, EBADMSG, "no digest");
	r = digest_parse(json_string_value(v), ret, &why);
	return r < 0 ? err_set(err, r == -EINVAL ? EBADMSG : -r, "%s", why.msg) : 0;
}

int doc_bool(const json_t *o, const char *key, bool *ret, struct err *err)
{
	json_t *v = doc_get(o, key);

	if (v != NULL && !json_is_boolean(v))
		return wrong_type(key, "boolean", err);
	*ret = json_is_true(v);
	return 0;
}
