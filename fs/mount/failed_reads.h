/*
 * Reads that have just failed, so that one read(2) does not wait twice.
 *
 * When a READ of the page cache fails the kernel sends another for the page that its caller is
 * after, and so does everybody who slept on a page of it: each would wait for the source until its
 * own deadline, and who reads would meet a multiple of it. So what was asked a moment ago, by
 * who had the file open then, is answered as it was then. Who opens the file anew asks anew.
 *
 *   failed_reads_init -> failed_reads_note (a read failed) / failed_reads_find (before one asks)
 *                     -> failed_reads_done
 *
 * Threads: any. Locks: a leaf lock of its own.
 */
#ifndef MOUNT_FAILED_READS_H
#define MOUNT_FAILED_READS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define FAILED_READS_MAX 128 /* when full the oldest is forgotten: its readers wait once more */

struct failed_read {
	uint32_t node;
	int result;
	uint64_t offset, end, when_ns;
};

struct failed_reads {
	pthread_mutex_t lock;
	struct failed_read reads[FAILED_READS_MAX]; /* protected by lock, like the next */
	size_t next;				    /* to be overwritten */
};

void failed_reads_init(struct failed_reads *f);
void failed_reads_done(struct failed_reads *f);

/* A read of size bytes of a node ended with result, a negative errno. */
void failed_reads_note(struct failed_reads *f, uint32_t node, uint64_t offset, size_t size,
		       int result);

/*
 * What a read of the byte at offset failed with a moment ago, by clock_mono_ns(), and not before
 * opened_ns; 0 when none did.
 */
int failed_reads_find(struct failed_reads *f, uint32_t node, uint64_t offset, uint64_t opened_ns);

#endif
