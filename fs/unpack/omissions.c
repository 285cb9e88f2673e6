#include "unpack/omissions.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

static void tell(struct omissions *o, const char *text)
{
	struct err clean = {0};

	if (o->warn == NULL)
		return;
	(void)err_set(&clean, 1, "%s", text); /* one line, whatever is in the name */
	o->warn(o->warn_arg, clean.msg);
}

void omit(struct omissions *o, enum omission what, const char *path, const char *fmt, ...)
{
	char why[200], text[sizeof(why) + 250];
	va_list ap;

	if (o->n[what]++ > 0)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	(void)snprintf(text, sizeof(text), "%.240s%s%s", path != NULL ? path : "",
		       path != NULL ? ": " : "", why);
	tell(o, text);
}

uint64_t omissions_finish(struct omissions *o)
{
	static const char *const plural[OMISSIONS] = {
		[OMIT_DEVICE] = "devices were not made",
		[OMIT_OWNER] = "owners were not set",
		[OMIT_XATTR_TRUSTED] = "trusted attributes were not set",
		[OMIT_XATTR_UNSUPPORTED] = "attributes were not set: the file system has none",
		[OMIT_XATTR_DENIED] = "attributes were not set: they need privilege",
		[OMIT_ACL] = "access control lists were not set",
		[OMIT_AUFS] = "files of AUFS were passed over",
		[OMIT_END_MARK] = "",
		[OMIT_TRAILING] = "",
	};
	uint64_t sum = 0;

	for (int i = 0; i < OMISSIONS; i++) {
		char text[120];

		sum += o->n[i];
		if (o->n[i] < 2)
			continue;
		(void)snprintf(text, sizeof(text), "%llu more %s", (unsigned long long)o->n[i] - 1,
			       plural[i]);
		tell(o, text);
	}
	return sum;
}
