#include "mount/reply_buf.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct reply_buf {
	size_t n;
	void *data;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

static void end(void *arg)
{
	struct reply_buf *b = arg;

	free(b->data);
	free(b);
}

static void make_key(void)
{
	key_error = pthread_key_create(&key, end);
}

static struct reply_buf *mine(void)
{
	struct reply_buf *b;

	(void)pthread_once(&once, make_key);
	if (key_error != 0)
		return NULL;
	b = pthread_getspecific(key);
	if (b != NULL)
		return b;
	b = calloc(1, sizeof(*b));
	if (b != NULL && pthread_setspecific(key, b) != 0) {
		free(b);
		return NULL;
	}
	return b;
}

void *reply_buf(size_t n)
{
	struct reply_buf *b = mine();
	void *data;

	if (b == NULL)
		return NULL;
	if (n <= b->n)
		return b->data;
	/* By pages: the kernel then looks up one less for each reply. */
	if (posix_memalign(&data, (size_t)sysconf(_SC_PAGESIZE), n) != 0)
		return NULL;
	free(b->data);
	b->data = data;
	b->n = n;
	return data;
}
