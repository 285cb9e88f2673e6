#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *err_describe(int code)
{
	const char *s = strerrordesc_np(code); /* unlike strerror(), safe from any thread */

	return s != NULL ? s : "Unknown error";
}

/* C0 controls and DEL; bytes >= 0x80 are left alone since UTF-8 names are legitimate. */
static void keep_one_line(char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

__attribute__((format(printf, 3, 0))) static void set_va(struct err *err, int code, const char *fmt,
							 va_list ap)
{
	err->code = code;
	err->detail = 0;
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	keep_one_line(err->msg);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err != NULL) {
		va_start(ap, fmt);
		set_va(err, code, fmt, ap);
		va_end(ap);
	}
	return -code;
}

int err_errno(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (err != NULL) {
		va_start(ap, fmt);
		set_va(err, code, fmt, ap);
		va_end(ap);
		n = strlen(err->msg);
		(void)snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", err_describe(code));
	}
	return -code;
}

int err_wrap(struct err *err, int r, const char *fmt, ...)
{
	struct err inner;
	va_list ap;
	size_t n;

	if (err != NULL) {
		inner = *err;
		va_start(ap, fmt);
		set_va(err, -r, fmt, ap);
		va_end(ap);
		err->detail = inner.detail;
		n = strlen(err->msg);
		if (inner.code != 0) /* words stay when their code was translated */
			inner.code = -r;
		(void)snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", err_text(&inner, r));
	}
	return r;
}

const char *err_text(const struct err *err, int r)
{
	if (err != NULL && err->code == -r && err->msg[0] != '\0')
		return err->msg;
	return err_describe(-r);
}
