/* The map of a lazy fill, as a crash or somebody else may have left it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/chunkmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The size that the file itself states: with another one the header is wrong at once. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hasher_state st;
	uint64_t blob = 0;
	struct chunkmap *m;

	if (size >= 16)
		memcpy(&blob, data + 8, sizeof(blob));
	if (blob > 64 * CHUNK_BYTES || chunkmap_parse(data, size, blob, &m) < 0)
		return 0;
	if (chunkmap_here(m) > blob || chunkmap_front(m) > chunkmap_here(m) ||
	    (chunkmap_hash(m, &st) && st.n_bytes > chunkmap_front(m)))
		abort();
	chunkmap_free(m);
	return 0;
}
