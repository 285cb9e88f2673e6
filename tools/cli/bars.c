#include "cli/bars.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/tabs.h"
#include "cli/progress.h"

#define REDRAW_MS 100
#define LINES_MAX 64

void bars_init(struct bars *b)
{
	*b = (struct bars){.on = isatty(STDERR_FILENO) == 1};
}

static struct winsize window(void)
{
	struct winsize ws = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_col < 2 || ws.ws_row < 2)
		return (struct winsize){.ws_col = 80, .ws_row = 24};
	return ws;
}

/* To the beginning of the first line that was drawn, and clear from there on. */
static int rewind_lines(const struct bars *b, struct buf *out)
{
	return b->drawn > 0 ? buf_printf(out, "\033[%uA\r\033[J", b->drawn) : 0;
}

static int format_line(const struct bar *bar, uint64_t now_ms, size_t width, struct buf *out)
{
	cleanup_buf struct buf line;
	int r;

	buf_init(&line, 4096);
	r = progress_format(bar->done, bar->total,
			    now_ms > bar->start_ms ? now_ms - bar->start_ms : 1, &line);
	if (r == 0)
		r = tabs_escape(bar->name, &line, NULL);
	if (r == 0)
		r = buf_add(out, line.data, line.len < width ? line.len : width);
	return r == 0 ? buf_puts(out, "\n") : r;
}

void bars_draw(struct bars *b, const struct bar *bars, size_t n)
{
	cleanup_buf struct buf out;
	struct winsize ws;
	uint64_t now_ms;

	buf_init(&out, 64 << 10);
	if (!b->on)
		return;
	now_ms = clock_mono_ms();
	if (now_ms - b->drawn_ms < REDRAW_MS)
		return;
	b->drawn_ms = now_ms;
	ws = window();
	if (n > LINES_MAX)
		n = LINES_MAX;
	if (n > (size_t)ws.ws_row - 1)
		n = (size_t)ws.ws_row - 1;
	if (rewind_lines(b, &out) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (format_line(&bars[i], now_ms, (size_t)ws.ws_col - 1, &out) < 0)
			return;
	(void)fwrite(out.data, 1, out.len, stderr);
	(void)fflush(stderr);
	b->drawn = (unsigned int)n;
}

void bars_say(struct bars *b, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	cleanup_buf struct buf out;
	va_list ap;
	int n;

	buf_init(&out, 64 << 10);
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		return;
	}
	if (rewind_lines(b, &out) < 0 || tabs_escape(text, &out, NULL) < 0 ||
	    buf_puts(&out, "\n") < 0)
		return;
	b->drawn = 0;
	b->drawn_ms = 0; /* what was wiped comes back with the next draw */
	(void)fwrite(out.data, 1, out.len, stderr);
	(void)fflush(stderr);
}

void bars_done(struct bars *b)
{
	cleanup_buf struct buf out;

	buf_init(&out, 256);
	if (rewind_lines(b, &out) == 0 && out.len > 0)
		(void)fwrite(out.data, 1, out.len, stderr);
	(void)fflush(stderr);
	b->drawn = 0;
}
