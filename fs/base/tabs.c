#include "base/tabs.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define TAB_WIDTH 8

void tabs_init(struct tabs *t, size_t n_columns)
{
	assert(n_columns >= 1 && n_columns <= sizeof(t->widths) / sizeof(t->widths[0]));
	*t = (struct tabs){.n_columns = n_columns};
	buf_init(&t->text, SIZE_MAX / 2);
}

void tabs_done(struct tabs *t)
{
	buf_done(&t->text);
}

/*
 * Bytes of the character that s begins with: 0 when that is no UTF-8 (overlong forms and
 * surrogates are none) or a control character of C0 or C1.
 */
static size_t printable_len(const unsigned char *s)
{
	size_t n;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) ||
	    (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

int tabs_escape(const char *s, struct buf *out, bool *ret_exact)
{
	bool exact = true;
	int r = 0;

	while (*s != '\0' && r == 0) {
		size_t n = printable_len((const unsigned char *)s);

		if (n > 0 && *s != '\\') {
			r = buf_add(out, s, n);
			s += n;
			continue;
		}
		exact = false;
		r = *s == '\\' ? buf_puts(out, "\\\\")
			       : buf_printf(out, "\\x%02x", (unsigned char)*s);
		s++;
	}
	if (r == 0 && ret_exact != NULL)
		*ret_exact = exact;
	return r;
}

/* Characters, as the reference counts: one column each. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

int tabs_cell(struct tabs *t, const char *s)
{
	size_t start = t->text.len, column = t->n_cells % t->n_columns, width;
	int r = tabs_escape(s, &t->text, NULL);

	if (r == 0)
		r = buf_add(&t->text, "", 1);
	if (r < 0) {
		t->text.len = start;
		return r;
	}
	width = width_of(t->text.data + start);
	if (width > t->widths[column])
		t->widths[column] = width;
	t->n_cells++;
	return 0;
}

int tabs_print(const struct tabs *t, struct buf *out)
{
	const char *s = t->text.data;
	size_t n = t->n_cells - t->n_cells % t->n_columns;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		size_t column = i % t->n_columns, width = width_of(s), to;

		r = buf_puts(out, s);
		s += strlen(s) + 1;
		if (column + 1 == t->n_columns) {
			if (r == 0)
				r = buf_add(out, "\n", 1);
			continue;
		}
		to = (t->widths[column] + 1 + TAB_WIDTH - 1) / TAB_WIDTH * TAB_WIDTH;
		for (; width < to && r == 0; width = width / TAB_WIDTH * TAB_WIDTH + TAB_WIDTH)
			r = buf_add(out, "\t", 1);
	}
	return r;
}
