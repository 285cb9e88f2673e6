#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/size.h"
#include "base/tabs.h"

#define BAR_CELLS 20
#define REDRAW_MS 100

void progress_init(struct progress *p, const char *name, uint64_t total)
{
	*p = (struct progress){
		.name = name,
		.total = total,
		.start_ms = clock_mono_ms(),
		.on = isatty(STDERR_FILENO) == 1,
	};
}

static unsigned int columns(void)
{
	struct winsize ws;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
		return ws.ws_col;
	return 80;
}

int progress_format(uint64_t done, uint64_t total, uint64_t ms, struct buf *line)
{
	char have[32], all[32], rate[32], bar[BAR_CELLS + 1];
	unsigned int cells, percent;

	size_format(done, have, sizeof(have));
	size_format((uint64_t)((double)done * 1000 / (double)(ms > 0 ? ms : 1)), rate,
		    sizeof(rate));
	if (total == 0)
		return buf_printf(line, "%s  %s/s  ", have, rate);
	size_format(total, all, sizeof(all));
	percent = done >= total ? 100 : (unsigned int)(done / ((double)total / 100));
	cells = percent * BAR_CELLS / 100;
	memset(bar, '=', cells);
	memset(bar + cells, ' ', BAR_CELLS - cells);
	bar[BAR_CELLS] = '\0';
	return buf_printf(line, "[%s] %3u%%  %s / %s  %s/s  ", bar, percent, have, all, rate);
}

void progress_update(struct progress *p, uint64_t done)
{
	cleanup_buf struct buf line;
	uint64_t now_ms;
	size_t width;

	buf_init(&line, 64 << 10);
	if (!p->on)
		return;
	now_ms = clock_mono_ms();
	if (now_ms - p->start_ms < REDRAW_MS || now_ms - p->drawn_ms < REDRAW_MS)
		return;
	p->drawn_ms = now_ms;
	if (progress_format(done, p->total, now_ms - p->start_ms, &line) < 0 ||
	    tabs_escape(p->name, &line, NULL) < 0)
		return;
	width = columns() - 1;
	(void)fprintf(stderr, "\r%.*s\033[K", (int)(line.len < width ? line.len : width),
		      line.data);
	(void)fflush(stderr);
	p->drawn = true;
}

void progress_done(struct progress *p)
{
	if (!p->drawn)
		return;
	(void)fputs("\r\033[K", stderr);
	(void)fflush(stderr);
	p->drawn = false;
}
