#include "mount/ref_name.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"

int ref_name_decode(const char *name, char *out, size_t n)
{
	size_t len = 0;

	while (*name != '\0') {
		char c = *name++;

		if (c == '%' && name[0] == '2' && (name[1] == 'F' || name[1] == 'f')) {
			c = '/';
			name += 2;
		} else if (c == '%' && name[0] == '2' && name[1] == '5') {
			name += 2;
		}
		if (len + 1 >= n)
			return -ENAMETOOLONG;
		out[len++] = c;
	}
	out[len] = '\0';
	return len > 0 ? 0 : -EINVAL;
}

static bool reads_as_escape(const char *s)
{
	return s[0] == '%' && s[1] == '2' && (s[2] == 'F' || s[2] == 'f' || s[2] == '5');
}

static void name_by_hash(const char *ref, char *out)
{
	struct digest d = {{0}};

	(void)digest_of(ref, strlen(ref), &d);
	digest_hex(&d, out);
}

/* The length of the name; written to out as far as REF_NAME_MAX, unless out is NULL. */
static size_t spell(const char *ref, char *out)
{
	size_t len = 0;

	for (; *ref != '\0'; ref++) {
		const char *text = ref;
		size_t n = 1;

		if (*ref == '/') {
			text = "%2F";
			n = 3;
		} else if (reads_as_escape(ref)) {
			text = "%25";
			n = 3;
		}
		if (out != NULL && len + n <= REF_NAME_MAX)
			memcpy(out + len, text, n);
		len += n;
	}
	return len;
}

bool ref_name_is_hashed(const char *ref)
{
	return spell(ref, NULL) > REF_NAME_MAX || ref[0] == '\0' || strcmp(ref, ".") == 0 ||
	       strcmp(ref, "..") == 0;
}

void ref_name_encode(const char *ref, char *out)
{
	if (ref_name_is_hashed(ref))
		name_by_hash(ref, out);
	else
		out[spell(ref, out)] = '\0';
}
