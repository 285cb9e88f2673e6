#include "oci/descriptor.h"

#include <errno.h>
#include <string.h>

#include "oci/doc.h"

/* Control characters and spaces have no place in a URL, and would split a request. */
static bool is_url(const json_t *v)
{
	const char *s = json_string_value(v);

	if (s == NULL || json_string_length(v) > DESCRIPTOR_URL_MAX_LEN)
		return false;
	for (; *s != '\0'; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

static int take_urls(const json_t *o, struct descriptor *d, struct err *err)
{
	json_t *urls;
	int r = doc_array(o, "urls", DESCRIPTOR_URLS_MAX, &urls, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < json_array_size(urls); i++)
		if (!is_url(json_array_get(urls, i)))
			return err_set(err, EBADMSG, "\"urls\" holds what is no URL");
	d->urls = urls;
	return 0;
}

static int take_platform(const json_t *o, struct descriptor *d, struct err *err)
{
	json_t *platform;
	int r = doc_object(o, "platform", &platform, err);

	return r < 0 || platform == NULL ? r : platform_from_json(platform, &d->platform, err);
}

/* Annotations are for people: a name that does not fit is left out, not refused. */
static void take_ref_name(const json_t *o, struct descriptor *d)
{
	const json_t *v = json_object_get(json_object_get(o, "annotations"),
					  "org.opencontainers.image.ref.name");

	if (json_is_string(v) && json_string_length(v) < sizeof(d->ref_name))
		memcpy(d->ref_name, json_string_value(v), json_string_length(v) + 1);
}

int descriptor_from_json(const json_t *o, struct descriptor *ret, struct err *err)
{
	struct descriptor d = {0};
	int r;

	if (!json_is_object(o))
		return err_set(err, EBADMSG, "no descriptor");
	r = doc_copy_string(o, "mediaType", d.mediatype, sizeof(d.mediatype), err);
	if (r == 0 && !mediatype_is_valid(d.mediatype))
		r = err_set(err, EBADMSG, "invalid media type \"%s\"", d.mediatype);
	if (r == 0)
		r = doc_digest(json_object_get(o, "digest"), &d.digest, err);
	if (r == 0)
		r = doc_size(o, "size", &d.size, err);
	if (r == 0)
		r = take_platform(o, &d, err);
	if (r == 0)
		r = take_urls(o, &d, err);
	if (r < 0)
		return r;
	take_ref_name(o, &d);
	*ret = d;
	return 0;
}

const char *descriptor_url(const struct descriptor *d, size_t n)
{
	return json_string_value(json_array_get(d->urls, n));
}
