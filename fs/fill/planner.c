#include "fill/planner.h"

#define LENGTH_MAX (16 * CHUNK_BYTES)
#define FAST_LENGTH_MAX (64 * CHUNK_BYTES)
#define FEW_CONNECTIONS 2
#define ENOUGH_BYTES_PER_S (CHUNK_BYTES * 1000000000 / PLANNER_JUDGE_NS)

static bool is_flying(const struct span *flying, size_t n, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < n; i++)
		if (flying[i].start < end && start < flying[i].end)
			return true;
	return false;
}

static bool wanted(const struct chunkmap *m, const struct span *flying, size_t n, uint64_t i)
{
	uint64_t start = i * CHUNK_BYTES;

	return !chunkmap_whole(m, i) && !is_flying(flying, n, start, start + chunkmap_len(m, i));
}

bool planner_next(const struct chunkmap *m, const struct span *flying, size_t n, uint64_t from,
		  uint64_t to, uint64_t max_bytes, struct span *ret)
{
	uint64_t front = chunkmap_front(m), size = chunkmap_size(m), i;

	if (from < front)
		from = front;
	if (to > size)
		to = size;
	for (i = from / CHUNK_BYTES; i * CHUNK_BYTES < to; i++)
		if (wanted(m, flying, n, i))
			break;
	if (from >= to || i * CHUNK_BYTES >= to)
		return false;
	ret->start = i * CHUNK_BYTES + chunkmap_got(m, i);
	do
		ret->end = i * CHUNK_BYTES + chunkmap_len(m, i);
	while (++i < chunkmap_count(m) && ret->end - ret->start < max_bytes &&
	       wanted(m, flying, n, i) && chunkmap_got(m, i) == 0);
	return true;
}

static uint64_t length_max(uint64_t bytes_per_s)
{
	uint64_t soon = bytes_per_s / 2;

	if (soon < LENGTH_MAX)
		return LENGTH_MAX;
	return soon < FAST_LENGTH_MAX ? soon : FAST_LENGTH_MAX;
}

uint64_t planner_length(uint64_t previous, uint64_t left, unsigned int max_connections,
			uint64_t bytes_per_s)
{
	uint64_t length = previous > 0 ? previous * 2 : CHUNK_BYTES;
	uint64_t share = left / (max_connections > 0 ? max_connections : 1);
	uint64_t max = length_max(bytes_per_s);

	if (length > max)
		length = max;
	if (length > share)
		length = share;
	return length > CHUNK_BYTES ? length : CHUNK_BYTES;
}

unsigned int planner_connections(unsigned int max, uint64_t bytes_per_s)
{
	bool few = bytes_per_s == 0 || bytes_per_s >= ENOUGH_BYTES_PER_S;

	return few && max > FEW_CONNECTIONS ? FEW_CONNECTIONS : max;
}
