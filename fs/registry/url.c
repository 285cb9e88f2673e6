#include "registry/url.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

static void curl_freep(char **p)
{
	curl_free(*p);
}

static void url_cleanupp(CURLU **u)
{
	curl_url_cleanup(*u);
}

#define cleanup_part cleanup(curl_freep)

/* u's scheme, host and port. */
static int origin_of(CURLU *u, struct url_origin *ret)
{
	cleanup_part char *scheme = NULL, *host = NULL, *port = NULL;
	struct url_origin o;
	int n;

	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return -EINVAL;
	if (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)
		return -EINVAL;
	n = snprintf(o.s, sizeof(o.s), "%s://%s:%s", scheme, host, port);
	if (n < 0 || (size_t)n >= sizeof(o.s))
		return -EINVAL;
	for (char *s = o.s; *s != '\0'; s++)
		*s = (char)tolower((unsigned char)*s);
	*ret = o;
	return 0;
}

int url_origin(const char *url, struct url_origin *ret)
{
	cleanup(url_cleanupp) CURLU *u = curl_url();

	if (u == NULL)
		return -ENOMEM;
	if (strlen(url) > URL_MAX_BYTES ||
	    curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK)
		return -EINVAL;
	return origin_of(u, ret);
}

bool url_is_plain(const char *url)
{
	return strncasecmp(url, "http:", 5) == 0;
}

bool url_is_loopback(const char *host)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (strncasecmp(host, names[i], n) == 0 && (host[n] == '\0' || host[n] == ':'))
			return true;
	}
	return strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.:") == strlen(host);
}

int url_join(const char *base, const char *location, char **ret)
{
	cleanup(url_cleanupp) CURLU *u = curl_url();
	cleanup_part char *whole = NULL;
	struct url_origin unused;
	char *copy;

	if (u == NULL)
		return -ENOMEM;
	if (strlen(location) > URL_MAX_BYTES ||
	    curl_url_set(u, CURLUPART_URL, base, 0) != CURLUE_OK ||
	    curl_url_set(u, CURLUPART_URL, location, CURLU_DISALLOW_USER | CURLU_URLENCODE) !=
		    CURLUE_OK ||
	    curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_URL, &whole, 0) != CURLUE_OK || origin_of(u, &unused) < 0 ||
	    url_origin(whole, &unused) < 0)
		return -EINVAL;
	copy = strdup(whole);
	if (copy == NULL)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

bool url_is_path(const char *s, const char *more)
{
	size_t n = 0;

	for (; s[n] != '\0'; n++)
		if (!((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') ||
		      (s[n] >= '0' && s[n] <= '9') || strchr(more, s[n]) != NULL))
			return false;
	return n > 0 && n < 512 && strstr(s, "..") == NULL && *s != '/' && s[n - 1] != '/' &&
	       strstr(s, "//") == NULL;
}

void url_show(const char *url, char *out, size_t n)
{
	size_t len = strcspn(url, "?#");

	(void)snprintf(out, n, "%.*s%s", (int)(len < n ? len : n), url,
		       url[len] != '\0' ? "?..." : "");
}

int url_escape(struct buf *b, const char *value)
{
	int r = 0;

	for (; *value != '\0' && r == 0; value++) {
		unsigned char c = (unsigned char)*value;

		if (isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
			r = buf_add(b, value, 1);
		else
			r = buf_printf(b, "%%%02X", c);
	}
	return r;
}

int url_add_query(struct buf *b, const char *name, const char *value)
{
	int r = buf_puts(b, strchr(b->data, '?') != NULL ? "&" : "?");

	if (r == 0)
		r = buf_puts(b, name);
	if (r == 0)
		r = buf_puts(b, "=");
	return r < 0 ? r : url_escape(b, value);
}
