#include "rpc/status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

static const char *const names[] = {
	[RPC_OK] = "OK",
	[RPC_CANCELLED] = "CANCELLED",
	[RPC_UNKNOWN] = "UNKNOWN",
	[RPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[RPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[RPC_NOT_FOUND] = "NOT_FOUND",
	[RPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[RPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[RPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[RPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[RPC_ABORTED] = "ABORTED",
	[RPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
	[RPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[RPC_INTERNAL] = "INTERNAL",
	[RPC_UNAVAILABLE] = "UNAVAILABLE",
	[RPC_DATA_LOSS] = "DATA_LOSS",
	[RPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

/* Both ways; the first errno of a status is the one it becomes. */
static const struct {
	int code;
	enum rpc_status status;
} pairs[] = {
	{ENOENT, RPC_NOT_FOUND},
	{ESRCH, RPC_NOT_FOUND},
	{EEXIST, RPC_ALREADY_EXISTS},
	{EINVAL, RPC_INVALID_ARGUMENT},
	{ENOTTY, RPC_INVALID_ARGUMENT},
	{EACCES, RPC_PERMISSION_DENIED},
	{EPERM, RPC_PERMISSION_DENIED},
	{EBUSY, RPC_FAILED_PRECONDITION},
	{EALREADY, RPC_FAILED_PRECONDITION},
	{E2BIG, RPC_RESOURCE_EXHAUSTED},
	{ENOMEM, RPC_RESOURCE_EXHAUSTED},
	{ENOSPC, RPC_RESOURCE_EXHAUSTED},
	{EMFILE, RPC_RESOURCE_EXHAUSTED},
	{ETIMEDOUT, RPC_DEADLINE_EXCEEDED},
	{ECANCELED, RPC_CANCELLED},
	{EOPNOTSUPP, RPC_UNIMPLEMENTED},
	{ENOSYS, RPC_UNIMPLEMENTED},
	{EPIPE, RPC_UNAVAILABLE},
	{ECONNREFUSED, RPC_UNAVAILABLE},
	{EPROTO, RPC_INTERNAL},
	{EBADMSG, RPC_INTERNAL},
	{EBADMSG, RPC_DATA_LOSS},
	{EAGAIN, RPC_ABORTED},
	{ERANGE, RPC_OUT_OF_RANGE},
	{EACCES, RPC_UNAUTHENTICATED},
};

#define N_PAIRS (sizeof(pairs) / sizeof(pairs[0]))

const char *rpc_status_name(unsigned int status)
{
	return status < sizeof(names) / sizeof(names[0]) ? names[status] : "UNKNOWN";
}

enum rpc_status rpc_status_from_errno(int r)
{
	if (r == 0)
		return RPC_OK;
	for (size_t i = 0; i < N_PAIRS; i++)
		if (pairs[i].code == -r)
			return pairs[i].status;
	return RPC_UNKNOWN;
}

int rpc_status_to_errno(unsigned int status)
{
	if (status == RPC_OK)
		return 0;
	for (size_t i = 0; i < N_PAIRS; i++)
		if (pairs[i].status == status)
			return -pairs[i].code;
	return -EREMOTEIO;
}

int rpc_message_encode(const char *s, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;
		char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
		bool plain = c >= ' ' && c <= '~' && c != '%';
		int r = plain ? buf_add(out, s, 1) : buf_add(out, escaped, sizeof(escaped));

		if (r < 0)
			return r;
	}
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int rpc_message_decode(const char *s, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		int r;

		if (c == '%' && n - i > 2 && hex_value(s[i + 1]) >= 0 && hex_value(s[i + 2]) >= 0) {
			c = (char)(hex_value(s[i + 1]) << 4 | hex_value(s[i + 2]));
			i += 2;
		}
		r = buf_add(out, &c, 1);
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct timeout_unit {
	char name;
	uint64_t ns;
} units[] = {
	{'n', 1},
	{'u', 1000},
	{'m', 1000000},
	{'S', 1000000000},
	{'M', 60ULL * 1000000000},
	{'H', 3600ULL * 1000000000},
};

enum { MAX_TIMEOUT_DIGITS = 8 };

int rpc_timeout_parse(const char *s, size_t n, uint64_t *ret_ms)
{
	uint64_t value = 0;

	if (n < 2 || n > MAX_TIMEOUT_DIGITS + 1)
		return -EINVAL;
	for (size_t i = 0; i < n - 1; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(s[i] - '0');
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].name != s[n - 1])
			continue;
		/* 99999999 hours are 3.6e20 ns, more than 64 bits hold. */
		if (units[i].ns >= 1000000)
			*ret_ms = value * (units[i].ns / 1000000);
		else
			*ret_ms = (value * units[i].ns + 999999) / 1000000;
		return 0;
	}
	return -EINVAL;
}

void rpc_timeout_format(uint64_t ms, char *out)
{
	static const uint64_t limit = 99999999;

	if (ms <= limit)
		(void)snprintf(out, 16, "%" PRIu64 "m", ms);
	else if (ms / 1000 <= limit)
		(void)snprintf(out, 16, "%" PRIu64 "S", ms / 1000);
	else if (ms / 60000 <= limit)
		(void)snprintf(out, 16, "%" PRIu64 "M", ms / 60000);
	else
		(void)snprintf(out, 16, "%" PRIu64 "H",
			       ms / 3600000 <= limit ? ms / 3600000 : limit);
}
