/*
 * The kernel's side of a mounted store, played by a test over a socketpair: no mount, no root.
 *
 *   WIRE(w); CHECK_EQ(wire_start(&w, store, source), 0);       INIT is answered, ended by itself
 *   CHECK_EQ(wire_lookup(&w, INO_SHA256, hex, &entry), 0);
 *   q = wire_send(&w, FUSE_READ, ...); ... wire_receive(&w, q, &reply);   several at once
 *
 * Requests are those of <linux/fuse.h>; replies of others that come first are kept. A negative
 * result is the errno of the reply, -ETIME when none came within WIRE_TIMEOUT_MS. FORGET has
 * no reply: wire_nodes_are() waits for what it does.
 *
 * Threads: one; the mount has its own.
 */
#ifndef TESTS_LIB_FUSE_WIRE_H
#define TESTS_LIB_FUSE_WIRE_H

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "mount/mount.h"

#define WIRE_TIMEOUT_MS 30000
#define WIRE_MAX ((size_t)160 << 10) /* bytes of one message */
#define WIRE_KEPT 16		     /* replies that may wait to be asked for */

/* Fixed node numbers of fs/mount/private.h: what a kernel would find by lookups. */
enum { WIRE_ROOT = FUSE_ROOT_ID, WIRE_BLOBS, WIRE_SHA256, WIRE_INGEST, WIRE_ACTIVE };

struct wire_reply {
	uint64_t unique;
	int error;  /* 0 or negative */
	size_t len; /* of data */
	char *data; /* free() it */
};

struct wire {
	struct mount *mount;
	pthread_t thread;
	bool running;
	int result; /* of mount_run(), once it has ended */
	int fd;
	uint64_t unique;
	uint32_t pid; /* whose requests these are */
	uint32_t uid;
	struct wire_reply kept[WIRE_KEPT];
	size_t n_kept;
	unsigned int n_inval_entry; /* notifications seen */
	char inval_entry[FUSE_REC_ALIGN(256)];
	struct fuse_init_out init;
};

static inline void *wire_run(void *arg)
{
	struct wire *w = arg;

	w->result = mount_run(w->mount, /* handle_signals= */ false);
	return NULL;
}

/* Send one request; body and tail are what follows the header. Its number. */
static inline uint64_t wire_send2(struct wire *w, uint32_t opcode, uint64_t node, const void *body,
				  size_t n, const void *tail, size_t n_tail)
{
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + n + n_tail),
		.opcode = opcode,
		.unique = w->unique += 2, /* the lowest bit marks interrupts, as in the kernel */
		.nodeid = node,
		.uid = w->uid,
		.pid = w->pid,
	};
	struct iovec iov[] = {
		{&h, sizeof(h)}, {(void *)(uintptr_t)body, n}, {(void *)(uintptr_t)tail, n_tail}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};

	if (sendmsg(w->fd, &msg, MSG_NOSIGNAL) < 0)
		printf("# sendmsg: %s\n", err_describe(errno));
	return h.unique;
}

static inline uint64_t wire_send(struct wire *w, uint32_t opcode, uint64_t node, const void *body,
				 size_t n)
{
	return wire_send2(w, opcode, node, body, n, NULL, 0);
}

static inline void wire_note(struct wire *w, const struct fuse_out_header *h, const char *p)
{
	const struct fuse_notify_inval_entry_out *e = (const void *)p;

	if (h->error != FUSE_NOTIFY_INVAL_ENTRY)
		return;
	w->n_inval_entry++;
	(void)snprintf(w->inval_entry, sizeof(w->inval_entry), "%.*s", (int)e->namelen,
		       (const char *)(e + 1));
}

/* One message into ret; 0, -ETIME, or -ENODEV when the mount has hung up. */
static inline int wire_read_one(struct wire *w, int timeout_ms, struct wire_reply *ret)
{
	struct pollfd p = {.fd = w->fd, .events = POLLIN};
	struct fuse_out_header h;
	char *buf;
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return -ETIME;
	buf = malloc(WIRE_MAX);
	if (buf == NULL)
		return -ENOMEM;
	n = recv(w->fd, buf, WIRE_MAX, 0);
	if (n < (ssize_t)sizeof(h)) {
		free(buf);
		return -ENODEV;
	}
	memcpy(&h, buf, sizeof(h));
	memmove(buf, buf + sizeof(h), (size_t)n - sizeof(h));
	*ret = (struct wire_reply){.unique = h.unique, .error = h.error};
	ret->len = (size_t)n - sizeof(h);
	ret->data = buf;
	if (h.unique != 0)
		return h.len == (size_t)n ? 0 : -EPROTO;
	wire_note(w, &h, buf);
	free(buf);
	return -EAGAIN;
}

/* The reply to request number unique: its error (0 or negative); free ret->data when 0. */
static inline int wire_receive_within(struct wire *w, uint64_t unique, int timeout_ms,
				      struct wire_reply *ret)
{
	uint64_t end = clock_mono_ms() + (uint64_t)timeout_ms;

	for (size_t i = 0; i < w->n_kept; i++) {
		if (w->kept[i].unique != unique)
			continue;
		*ret = w->kept[i];
		w->kept[i] = w->kept[--w->n_kept];
		goto found;
	}
	for (;;) {
		uint64_t now = clock_mono_ms();
		int r = wire_read_one(w, now < end ? (int)(end - now) : 0, ret);

		if (r == -EAGAIN)
			continue;
		if (r < 0)
			return r;
		if (ret->unique == unique)
			break;
		if (w->n_kept == WIRE_KEPT)
			return -ENOBUFS;
		w->kept[w->n_kept++] = *ret;
	}
found:
	if (ret->error < 0) {
		free(ret->data);
		ret->data = NULL;
	}
	return ret->error;
}

static inline int wire_receive(struct wire *w, uint64_t unique, struct wire_reply *ret)
{
	return wire_receive_within(w, unique, WIRE_TIMEOUT_MS, ret);
}

/* The reply's error alone, or (>= 0) its length copied to out. -EPROTO: not that long. */
static inline ssize_t wire_take(struct wire *w, uint64_t unique, void *out, size_t least,
				size_t most)
{
	struct wire_reply a;
	int r = wire_receive(w, unique, &a);

	if (r < 0)
		return r;
	if (a.len >= least && a.len <= most && a.len > 0)
		memcpy(out, a.data, a.len);
	free(a.data);
	return a.len < least || a.len > most ? -EPROTO : (ssize_t)a.len;
}

static inline int wire_exactly(struct wire *w, uint64_t unique, void *out, size_t n)
{
	ssize_t r = wire_take(w, unique, out, n, n);

	return r < 0 ? (int)r : 0;
}

/* The reply must be empty. */
static inline int wire_nothing(struct wire *w, uint64_t unique)
{
	char none;
	ssize_t r = wire_take(w, unique, &none, 0, 0);

	return r < 0 ? (int)r : 0;
}

static inline int wire_handshake(struct wire *w)
{
	struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = 128 << 10,
		.flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS |
			 FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS | FUSE_WRITEBACK_CACHE |
			 FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT,
		.flags2 = 1U << (37 - 32), /* FUSE_PASSTHROUGH, in newer headers */
	};

	return wire_exactly(w, wire_send(w, FUSE_INIT, 0, &in, sizeof(in)), &w->init,
			    sizeof(w->init));
}

/* Mount s (with config's other fields) and shake hands; 0 or a negative errno. */
static inline int wire_start_with(struct wire *w, const struct mount_config *config)
{
	int fds[2], size = 1 << 20, r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN); /* the mount may answer when the test has hung up */
	/* As much as an ordinary user may have: a WIRE_MAX fits. */
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	w->fd = fds[0];
	r = mount_new(config, &w->mount, NULL);
	if (r < 0) {
		(void)close(fds[1]);
		return r;
	}
	r = mount_attach_fd(w->mount, fds[1], NULL);
	if (r == 0)
		r = -pthread_create(&w->thread, NULL, wire_run, w);
	w->running = r == 0;
	return r < 0 ? r : wire_handshake(w);
}

static inline int wire_start(struct wire *w, struct store *s, struct blob_source *source)
{
	return wire_start_with(
		w, &(struct mount_config){.store = s, .source = source, .passthrough = true});
}

static inline void wire_init(struct wire *w)
{
	*w = (struct wire){.fd = -1, .pid = (uint32_t)getpid()};
}

/* Forget replies that nobody has asked for: of interrupts that came too late, say. */
static inline void wire_drop_kept(struct wire *w)
{
	for (size_t i = 0; i < w->n_kept; i++)
		free(w->kept[i].data);
	w->n_kept = 0;
}

/* Hang up, as an unmount does; what mount_run() returned. May be called twice. */
static inline int wire_stop(struct wire *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = -1;
	if (w->running)
		(void)pthread_join(w->thread, NULL);
	w->running = false;
	w->mount = mount_free(w->mount);
	wire_drop_kept(w);
	return w->result;
}

static inline void wire_stopp(struct wire *w)
{
	(void)wire_stop(w);
}

#define WIRE(w)                                                 \
	__attribute__((__cleanup__(wire_stopp))) struct wire w; \
	wire_init(&(w))

/* Requests, one function each: 0 or a count, or the negative errno of the reply. */

static inline int wire_lookup(struct wire *w, uint64_t dir, const char *name,
			      struct fuse_entry_out *ret)
{
	return wire_exactly(w, wire_send(w, FUSE_LOOKUP, dir, name, strlen(name) + 1), ret,
			    sizeof(*ret));
}

static inline void wire_forget(struct wire *w, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = {.nlookup = n};

	(void)wire_send(w, FUSE_FORGET, node, &in, sizeof(in));
}

static inline void wire_batch_forget(struct wire *w, const struct fuse_forget_one *some, uint32_t n)
{
	struct fuse_batch_forget_in in = {.count = n};

	(void)wire_send2(w, FUSE_BATCH_FORGET, 0, &in, sizeof(in), some, n * sizeof(*some));
}

static inline int wire_getattr(struct wire *w, uint64_t node, struct fuse_attr *ret)
{
	struct fuse_getattr_in in = {0};
	struct fuse_attr_out out;
	int r = wire_exactly(w, wire_send(w, FUSE_GETATTR, node, &in, sizeof(in)), &out,
			     sizeof(out));

	if (r == 0)
		*ret = out.attr;
	return r;
}

/* fh UINT64_MAX: without one. */
static inline int wire_truncate(struct wire *w, uint64_t node, uint64_t fh, uint64_t size)
{
	struct fuse_setattr_in in = {.valid = FATTR_SIZE, .size = size};
	struct fuse_attr_out out;

	if (fh != UINT64_MAX) {
		in.valid |= FATTR_FH;
		in.fh = fh;
	}
	return wire_exactly(w, wire_send(w, FUSE_SETATTR, node, &in, sizeof(in)), &out,
			    sizeof(out));
}

static inline int wire_open(struct wire *w, uint64_t node, int flags, struct fuse_open_out *ret)
{
	struct fuse_open_in in = {.flags = (uint32_t)flags};

	return wire_exactly(w, wire_send(w, FUSE_OPEN, node, &in, sizeof(in)), ret, sizeof(*ret));
}

static inline int wire_create(struct wire *w, uint64_t dir, const char *name, int flags,
			      struct fuse_entry_out *ret_entry, struct fuse_open_out *ret_open)
{
	struct fuse_create_in in = {.flags = (uint32_t)flags, .mode = S_IFREG | 0644};
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	int r = wire_exactly(
		w, wire_send2(w, FUSE_CREATE, dir, &in, sizeof(in), name, strlen(name) + 1), &out,
		sizeof(out));

	if (r < 0)
		return r;
	*ret_entry = out.entry;
	*ret_open = out.open;
	return 0;
}

static inline uint64_t wire_send_read(struct wire *w, uint64_t node, uint64_t fh, uint64_t offset,
				      uint32_t size)
{
	struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};

	return wire_send(w, FUSE_READ, node, &in, sizeof(in));
}

static inline ssize_t wire_read(struct wire *w, uint64_t node, uint64_t fh, uint64_t offset,
				void *buf, uint32_t size)
{
	return wire_take(w, wire_send_read(w, node, fh, offset, size), buf, 0, size);
}

static inline ssize_t wire_write(struct wire *w, uint64_t node, uint64_t fh, uint64_t offset,
				 const void *buf, uint32_t size)
{
	struct fuse_write_in in = {.fh = fh, .offset = offset, .size = size};
	struct fuse_write_out out;
	int r = wire_exactly(w, wire_send2(w, FUSE_WRITE, node, &in, sizeof(in), buf, size), &out,
			     sizeof(out));

	return r < 0 ? r : (ssize_t)out.size;
}

static inline int wire_flush(struct wire *w, uint64_t node, uint64_t fh)
{
	struct fuse_flush_in in = {.fh = fh};

	return wire_nothing(w, wire_send(w, FUSE_FLUSH, node, &in, sizeof(in)));
}

static inline int wire_fsync(struct wire *w, uint64_t node, uint64_t fh)
{
	struct fuse_fsync_in in = {.fh = fh};

	return wire_nothing(w, wire_send(w, FUSE_FSYNC, node, &in, sizeof(in)));
}

static inline int wire_end(struct wire *w, uint32_t opcode, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = {.fh = fh};

	return wire_nothing(w, wire_send(w, opcode, node, &in, sizeof(in)));
}

static inline int wire_release(struct wire *w, uint64_t node, uint64_t fh)
{
	return wire_end(w, FUSE_RELEASE, node, fh);
}

static inline int wire_releasedir(struct wire *w, uint64_t node, uint64_t fh)
{
	return wire_end(w, FUSE_RELEASEDIR, node, fh);
}

static inline int wire_opendir(struct wire *w, uint64_t node, uint64_t *ret_fh)
{
	struct fuse_open_in in = {0};
	struct fuse_open_out out;
	int r = wire_exactly(w, wire_send(w, FUSE_OPENDIR, node, &in, sizeof(in)), &out,
			     sizeof(out));

	if (r == 0)
		*ret_fh = out.fh;
	return r;
}

static inline ssize_t wire_readdir(struct wire *w, uint64_t node, uint64_t fh, uint64_t offset,
				   bool plus, void *buf, uint32_t size)
{
	struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};

	return wire_take(
		w, wire_send(w, plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, &in, sizeof(in)), buf,
		0, size);
}

/* READDIR entries: the next one at *pos, or NULL; entry (plus) may be NULL. */
static inline const struct fuse_dirent *wire_next_entry(const char *buf, ssize_t n, size_t *pos,
							bool plus,
							const struct fuse_entry_out **entry)
{
	size_t skip = plus ? sizeof(struct fuse_entry_out) : 0;
	const struct fuse_dirent *d;

	if (n < 0 || *pos + skip + FUSE_NAME_OFFSET > (size_t)n)
		return NULL;
	d = (const void *)(buf + *pos + skip);
	if (entry != NULL)
		*entry = (const void *)(buf + *pos);
	*pos += FUSE_DIRENT_ALIGN(skip + FUSE_NAME_OFFSET + d->namelen);
	return d;
}

/* A request that holds a name alone, answered by nothing: UNLINK, RMDIR. */
static inline int wire_name(struct wire *w, uint32_t opcode, uint64_t dir, const char *name)
{
	return wire_nothing(w, wire_send(w, opcode, dir, name, strlen(name) + 1));
}

static inline int wire_unlink(struct wire *w, uint64_t dir, const char *name)
{
	return wire_name(w, FUSE_UNLINK, dir, name);
}

static inline int wire_rmdir(struct wire *w, uint64_t dir, const char *name)
{
	return wire_name(w, FUSE_RMDIR, dir, name);
}

static inline int wire_mkdir(struct wire *w, uint64_t dir, const char *name,
			     struct fuse_entry_out *ret)
{
	struct fuse_mkdir_in in = {.mode = 0755};

	return wire_exactly(w,
			    wire_send2(w, FUSE_MKDIR, dir, &in, sizeof(in), name, strlen(name) + 1),
			    ret, sizeof(*ret));
}

static inline int wire_mknod(struct wire *w, uint64_t dir, const char *name, uint32_t mode,
			     struct fuse_entry_out *ret)
{
	struct fuse_mknod_in in = {.mode = mode};

	return wire_exactly(w,
			    wire_send2(w, FUSE_MKNOD, dir, &in, sizeof(in), name, strlen(name) + 1),
			    ret, sizeof(*ret));
}

/* The value as text into out, at most n - 1 bytes; its length. */
static inline ssize_t wire_getxattr(struct wire *w, uint64_t node, const char *name, char *out,
				    size_t n)
{
	struct fuse_getxattr_in in = {.size = (uint32_t)n - 1};
	ssize_t r = wire_take(
		w, wire_send2(w, FUSE_GETXATTR, node, &in, sizeof(in), name, strlen(name) + 1), out,
		0, n - 1);

	if (r >= 0)
		out[r] = '\0';
	return r;
}

/* Without FUSE_SETXATTR_EXT the request has 8 bytes before the name. */
static inline int wire_setxattr(struct wire *w, uint64_t node, const char *name, const char *value)
{
	struct fuse_setxattr_in in = {.size = (uint32_t)strlen(value)};
	char text[1024];
	int n = snprintf(text, sizeof(text), "%s%c%s", name, '\0', value);

	return wire_nothing(w, wire_send2(w, FUSE_SETXATTR, node, &in, FUSE_COMPAT_SETXATTR_IN_SIZE,
					  text, (size_t)n));
}

static inline void wire_interrupt(struct wire *w, uint64_t unique)
{
	struct fuse_interrupt_in in = {.unique = unique};

	(void)wire_send(w, FUSE_INTERRUPT, 0, &in, sizeof(in));
}

/* A counter of the mount's status, or -1. */
static inline long long wire_counter(struct wire *w, const char *key)
{
	char line[64], *at = NULL;
	long long value = -1;
	struct buf b;

	buf_init(&b, 65536);
	(void)snprintf(line, sizeof(line), "\n%s ", key);
	if (mount_status(w->mount, &b) == 0)
		at = strstr(b.data, line);
	if (at != NULL)
		value = strtoll(at + strlen(line), NULL, 10);
	buf_done(&b);
	return value;
}

/* Wait until a counter has a value; whether it came to that. */
static inline bool wire_counter_becomes(struct wire *w, const char *key, long long value)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t end = clock_mono_ms() + WIRE_TIMEOUT_MS;

	while (wire_counter(w, key) != value) {
		if (clock_mono_ms() > end) {
			printf("# %s is %lld, not %lld\n", key, wire_counter(w, key), value);
			return false;
		}
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

#endif
