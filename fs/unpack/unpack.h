/*
 * A layer, as it comes from a registry or a file, onto a directory.
 *
 *   src.read = ...;  r = unpack_layer(root_fd, &src, &options, &result, &err);
 *
 * The layer is a tar archive, plain or packed by gzip, zstd, xz or bzip2, which is told by its
 * first bytes; no byte at all is an empty layer. Entries are applied by the rules of the OCI image
 * spec, layer.md ("Applying Changesets"): whiteouts remove, an opaque whiteout hides what was in
 * the directory before this layer, a directory over a directory merges, anything else replaces.
 *
 * Nothing outside root_fd is touched, whatever the layer says and whoever renames things inside
 * meanwhile: directories are walked one name at a time from root_fd, links in them are followed
 * as if root_fd were "/", and the last name is never followed.
 *
 * Reading, decompressing, both hashes and the creation of files run beside each other, on threads
 * that end before unpack_layer() returns. Memory is bounded, whatever the layer.
 *
 * On failure the entries before the bad one stay in the directory: unpack into one that can be
 * thrown away.
 *
 * Threads: any number of layers at once, each into a directory of its own. Umask, working
 * directory and signal handlers of the process are left alone.
 */
#ifndef UNPACK_UNPACK_H
#define UNPACK_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/err.h"

/* Where the bytes of the layer come from, packed as they are. */
struct unpack_source {
	/*
	 * Up to n bytes into buf: their count, 0 at the end, or a negative errno with err set.
	 * Called from one thread of unpack's, not the caller's.
	 */
	ssize_t (*read)(void *arg, void *buf, size_t n, struct err *err);
	/*
	 * NULL, or: make a read() that is waiting return soon, with whatever result. Called at most
	 * once, from another thread, when the layer has failed; no new read() follows.
	 */
	void (*cancel)(void *arg);
	void *arg;
};

struct unpack_options {
	/*
	 * No devices; owners only where the ids can be had; attributes that need privilege are left
	 * out. Each such omission is a warning. Without it they are errors.
	 */
	bool rootless;
	uint64_t max_bytes;   /* of the unpacked tar stream; 0: no bound */
	uint64_t max_entries; /* 0: no bound */
	size_t max_window;    /* memory that a zstd or xz stream may ask for; 0: 32 MiB */
	/* NULL, or: one line about something left out, from the calling thread. */
	void (*warn)(void *arg, const char *text);
	void *warn_arg;
};

enum unpack_format { UNPACK_PLAIN, UNPACK_GZIP, UNPACK_ZSTD, UNPACK_XZ, UNPACK_BZIP2 };

struct unpack_result {
	struct digest digest;  /* of the bytes as they came */
	uint64_t size;	       /* their count */
	struct digest diff_id; /* of the unpacked tar stream, to its very end */
	uint64_t diff_size;
	uint64_t n_entries;  /* whiteouts included */
	uint64_t n_warnings; /* things left out; warn() hears of the first of each kind */
	enum unpack_format format;
};

/*
 * Apply the layer.
 *
 * @root_fd  a directory, open for reading; borrowed
 * @options  NULL for none
 * @ret      out: digests and counts
 *
 * Returns 0, or
 *   -EBADMSG    damaged or cut short, or an entry that no honest layer has; err names the entry
 *   -E2BIG      past max_bytes, max_entries, max_window or a limit of ours
 *   -EOPNOTSUPP an archive member of a kind that no layer has
 *   other       from src->read, or from the system call that failed on the entry that err names
 * On failure *ret is untouched.
 */
int unpack_layer(int root_fd, const struct unpack_source *src, const struct unpack_options *options,
		 struct unpack_result *ret, struct err *err);

/*
 * A descriptor (file, pipe, socket) as a source.
 *
 *   struct unpack_fd f; unpack_fd_open(&f, fd) -> unpack_fd_source(&f) -> unpack_fd_close(&f)
 *
 * fd is borrowed. unpack_fd_open() returns 0 or from eventfd(2); _close() may be called twice.
 */
struct unpack_fd {
	int fd;
	int wake_fd; /* readable once cancelled */
};

int unpack_fd_open(struct unpack_fd *f, int fd);
struct unpack_source unpack_fd_source(struct unpack_fd *f);
void unpack_fd_close(struct unpack_fd *f);

/* "gzip", "zstd", ...; static */
const char *unpack_format_name(enum unpack_format format);

#endif
