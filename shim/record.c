#include "shim/record.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/status.h"

enum field_type { FIELD_NUMBER, FIELD_STRING };

/* The fields of a record in the order of its line. */
#define N(member)                                              \
	{                                                      \
		FIELD_NUMBER, offsetof(struct record, member), \
			sizeof(((struct record *)0)->member)   \
	}
#define S(member)                                                \
	{                                                        \
		FIELD_STRING, offsetof(struct record, member), 0 \
	}
enum { MAX_FIELDS = 12 };
struct field {
	enum field_type type;
	size_t offset, size;
};

static const struct {
	char letter;
	size_t n;
	struct field fields[MAX_FIELDS];
} kinds[RECORD_KINDS] = {
	[RECORD_BOOT] = {'B', 2, {N(number), S(id)}},
	[RECORD_CREATE] = {'C',
			   10,
			   {N(at_ns), N(serial), S(id), S(bundle), S(runtime), N(no_pivot),
			    N(terminal), S(in), S(out), S(err)}},
	[RECORD_EXEC] = {'X', 6, {N(at_ns), N(serial), N(terminal), S(in), S(out), S(err)}},
	[RECORD_LAUNCHED] = {'L', 5, {N(at_ns), N(serial), N(pid), N(starttime), N(shares_pids)}},
	[RECORD_FAILED] = {'F', 2, {N(at_ns), N(serial)}},
	[RECORD_STARTED] = {'S', 1, {N(at_ns)}},
	[RECORD_PAUSED] = {'P', 1, {N(at_ns)}},
	[RECORD_RESUMED] = {'R', 1, {N(at_ns)}},
	[RECORD_OOM] = {'O', 1, {N(at_ns)}},
	[RECORD_ENDED] = {'W', 3, {N(at_ns), N(pid), N(status)}},
	[RECORD_EXIT] = {'E', 4, {N(at_ns), N(serial), N(status), N(lost)}},
	[RECORD_DELETED] = {'D', 2, {N(at_ns), N(serial)}},
	[RECORD_NUMBER] = {'N', 1, {N(number)}},
	[RECORD_EVENT] = {'V', 5, {N(at_ns), N(type), N(pid), N(status), N(lost)}},
	[RECORD_QUIET] = {'Q', 1, {N(number)}},
};
#undef N
#undef S

/* Members of 1, 4 and 8 bytes; all but at_ns are never negative. */
static uint64_t get_number(const struct record *r, const struct field *f)
{
	const char *at = (const char *)r + f->offset;
	uint64_t v8;
	uint32_t v4;

	if (f->size == 1)
		return *(const unsigned char *)at;
	if (f->size == 4) {
		memcpy(&v4, at, sizeof(v4));
		return v4;
	}
	memcpy(&v8, at, sizeof(v8));
	return v8;
}

static int set_number(struct record *r, const struct field *f, uint64_t v)
{
	char *at = (char *)r + f->offset;
	uint32_t v4 = (uint32_t)v;

	if (v > (f->size == 1 ? 1 : f->size == 4 ? (uint64_t)INT_MAX : (uint64_t)INT64_MAX))
		return -EBADMSG;
	if (f->size == 1)
		*(bool *)at = v != 0;
	else if (f->size == 4)
		memcpy(at, &v4, sizeof(v4));
	else
		memcpy(at, &v, sizeof(v));
	return 0;
}

int record_write(const struct record *r, struct buf *b)
{
	size_t before = b->len;
	int e = buf_printf(b, "%c", kinds[r->kind].letter);

	for (size_t i = 0; i < kinds[r->kind].n && e == 0; i++) {
		const struct field *f = &kinds[r->kind].fields[i];
		const char *s = NULL;

		if (f->type == FIELD_NUMBER) {
			e = buf_printf(b, "\t%" PRIu64, get_number(r, f));
			continue;
		}
		memcpy(&s, (const char *)r + f->offset, sizeof(s));
		e = buf_puts(b, "\t");
		if (e == 0 && s != NULL)
			e = rpc_message_encode(s, b);
	}
	if (e == 0)
		e = buf_puts(b, "\n");
	if (e < 0) {
		b->len = before;
		if (b->cap > 0)
			b->data[before] = '\0';
	}
	return e;
}

static int read_number(const char *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	if (n == 0 || n > 19)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -EBADMSG;
		v = v * 10 + (uint64_t)(p[i] - '0');
	}
	*ret = v;
	return 0;
}

/* Where a string begins in text is kept for now: text may still move. */
static int read_string(const char *p, size_t n, struct buf *text, size_t *ret_at)
{
	int e;

	*ret_at = text->len;
	e = rpc_message_decode(p, n, text);
	if (e == 0 && memchr(text->data + *ret_at, '\0', text->len - *ret_at) != NULL)
		return -EBADMSG;
	return e < 0 ? e : buf_add(text, "", 1);
}

static int read_fields(const char *line, size_t n, struct record *ret, struct buf *text)
{
	size_t starts[MAX_FIELDS] = {0};
	const char *p = line, *end = line + n;
	size_t i;
	int e = 0;

	for (i = 0; i < kinds[ret->kind].n && e == 0; i++) {
		const struct field *f = &kinds[ret->kind].fields[i];
		const char *tab;
		uint64_t v = 0;

		if (p == end || *p != '\t')
			return -EBADMSG;
		p++;
		tab = memchr(p, '\t', (size_t)(end - p));
		tab = tab != NULL ? tab : end;
		if (f->type == FIELD_STRING) {
			e = read_string(p, (size_t)(tab - p), text, &starts[i]);
		} else {
			e = read_number(p, (size_t)(tab - p), &v);
			if (e == 0)
				e = set_number(ret, f, v);
		}
		p = tab;
	}
	if (e < 0)
		return e;
	if (p != end)
		return -EBADMSG;
	for (i = 0; i < kinds[ret->kind].n; i++) {
		const struct field *f = &kinds[ret->kind].fields[i];
		const char *s = text->data + starts[i];

		if (f->type == FIELD_STRING)
			memcpy((char *)ret + f->offset, &s, sizeof(s));
	}
	return 0;
}

int record_read(const char *line, size_t n, struct record *ret, struct buf *text)
{
	if (n == 0)
		return -EBADMSG;
	for (int k = 0; k < RECORD_KINDS; k++)
		if (kinds[k].letter == line[0]) {
			*ret = (struct record){.kind = (enum record_kind)k};
			return read_fields(line + 1, n - 1, ret, text);
		}
	return -EBADMSG;
}
