#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S 1000000000ULL

uint64_t clock_mono_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

int64_t clock_wall_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * (int64_t)NS_PER_S + ts.tv_nsec;
}

static uint64_t unit_ns(const char **s)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		/* longer names first: "ms" must not be read as "m" */
		{"ns", 1},
		{"us", 1000},
		{"\302\265s", 1000},
		{"ms", 1000000},
		{"s", NS_PER_S},
		{"m", 60 * NS_PER_S},
		{"h", 3600 * NS_PER_S},
		{"d", 86400 * NS_PER_S},
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t n = strlen(units[i].name);

		if (strncmp(*s, units[i].name, n) == 0) {
			*s += n;
			return units[i].ns;
		}
	}
	return 0;
}

int clock_parse_duration(const char *s, uint64_t *ret_ns)
{
	uint64_t total = 0;

	if (strcmp(s, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	if (*s == '\0')
		return -EINVAL;
	while (*s != '\0') {
		uint64_t whole = 0, frac = 0, scale = 1, unit, part;
		int digits = 0;

		for (; *s >= '0' && *s <= '9'; s++, digits++)
			if (__builtin_mul_overflow(whole, 10, &whole) ||
			    __builtin_add_overflow(whole, (uint64_t)(*s - '0'), &whole))
				return -ERANGE;
		if (*s == '.')
			for (s++; *s >= '0' && *s <= '9'; s++, digits++)
				if (scale < NS_PER_S) {
					frac = frac * 10 + (uint64_t)(*s - '0');
					scale *= 10;
				}
		if (digits == 0)
			return -EINVAL;
		unit = unit_ns(&s);
		if (unit == 0)
			return -EINVAL;
		if (__builtin_mul_overflow(whole, unit, &part) ||
		    __builtin_add_overflow(total, part, &total) ||
		    __builtin_add_overflow(
			    total,
			    (uint64_t)((__extension__(unsigned __int128) unit * frac) / scale),
			    &total))
			return -ERANGE;
	}
	*ret_ns = total;
	return 0;
}

void clock_format_age(uint64_t age_ns, char *out, size_t n)
{
	unsigned long long s = age_ns / NS_PER_S, m = s / 60, h = m / 60;

	if (s < 1)
		(void)snprintf(out, n, "Less than a second");
	else if (s < 60)
		(void)snprintf(out, n, "%llu seconds", s);
	else if (m == 1)
		(void)snprintf(out, n, "About a minute");
	else if (m < 60)
		(void)snprintf(out, n, "%llu minutes", m);
	else if (h == 1)
		(void)snprintf(out, n, "About an hour");
	else if (h < 48)
		(void)snprintf(out, n, "%llu hours", h);
	else if (h < 24 * 14)
		(void)snprintf(out, n, "%llu days", h / 24);
	else if (h < 24 * 90)
		(void)snprintf(out, n, "%llu weeks", h / 24 / 7);
	else if (h < 24 * 365 * 2)
		(void)snprintf(out, n, "%llu months", h / 24 / 30);
	else
		(void)snprintf(out, n, "%llu years", h / 24 / 365);
}

void clock_format_rfc3339(int64_t wall_ns, char *out, size_t n)
{
	time_t secs = (time_t)(wall_ns / (int64_t)NS_PER_S);
	long ns = (long)(wall_ns % (int64_t)NS_PER_S);
	struct tm tm;

	if (ns < 0) {
		ns += (long)NS_PER_S;
		secs--;
	}
	(void)gmtime_r(&secs, &tm);
	(void)snprintf(out, n, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", tm.tm_year + 1900,
		       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ns);
}

int clock_parse_rfc3339(const char *s, int64_t *ret_wall_ns)
{
	struct tm tm = {0};
	int used = 0, zone_h = 0, zone_m = 0;
	int64_t ns = 0, scale = (int64_t)NS_PER_S, zone = 0;

	/* NOLINTNEXTLINE(cert-err34-c): fields are range-checked below */
	if (sscanf(s, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 6 ||
	    used == 0)
		return -EINVAL;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_hour < 0 ||
	    tm.tm_min < 0 || tm.tm_sec < 0 || tm.tm_year < 0)
		return -EINVAL;
	s += used;
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9'; s++)
			if (scale > 1) {
				scale /= 10;
				ns += (*s - '0') * scale;
			}
	if (*s == 'Z' || *s == 'z') {
		s++;
	} else if (*s == '+' || *s == '-') {
		int sign = *s == '-' ? -1 : 1;

		used = 0;
		/* NOLINTNEXTLINE(cert-err34-c) */
		if (sscanf(s + 1, "%2d:%2d%n", &zone_h, &zone_m, &used) != 2 || used != 5 ||
		    zone_h < 0 || zone_h > 23 || zone_m < 0 || zone_m > 59)
			return -EINVAL;
		zone = sign * (zone_h * 3600 + zone_m * 60);
		s += 1 + used;
	} else {
		return -EINVAL;
	}
	if (*s != '\0' && *s != '\n')
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*ret_wall_ns = ((int64_t)timegm(&tm) - zone) * (int64_t)NS_PER_S + ns;
	return 0;
}
