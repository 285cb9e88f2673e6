#include "mount/passthrough.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/map.h"

/* include/uapi/linux/fuse.h of Linux 6.9; Debian 12's headers are older. */
#define K_FUSE_INIT 26
#define K_INIT_EXT (1U << 30)
#define K_HANDLE_KILLPRIV_V2 (1U << 28)
#define K_WRITEBACK_CACHE (1U << 16)
#define K2_PASSTHROUGH (1U << (37 - 32))
#define K_FOPEN_PASSTHROUGH (1U << 7)
#define K_FOPEN_KEEP_CACHE (1U << 1)

struct k_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define K_IOC_BACKING_OPEN _IOW(229, 1, struct k_backing_map)
#define K_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

struct k_in_header {
	uint32_t len;
	uint32_t opcode;
	uint64_t unique;
	uint64_t nodeid;
	uint32_t uid, gid, pid;
	uint16_t total_extlen, padding;
};

struct k_init_in {
	uint32_t major, minor, max_readahead, flags, flags2;
};

struct k_init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
	uint32_t unused[6];
};
_Static_assert(sizeof(struct k_init_out) == 64, "layout of fuse_init_out");

struct k_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};
_Static_assert(sizeof(struct k_open_out) == 16, "layout of fuse_open_out");

struct backing {
	uint64_t nodeid;
	int32_t id;
	uint32_t opens;
};

struct passthrough {
	bool wanted;
	int fd;			  /* the session's, borrowed */
	void (*ready)(void *arg); /* touched by the INIT thread alone */
	void *ready_arg;
	uint32_t offered_flags, offered_flags2; /* of the INIT request; set before any open */
	pthread_mutex_t lock;			/* held from INIT's reply until the probe is over */
	bool enabled;				/* protected by lock, like all below */
	char mode[192];				/* does not change after INIT */
	struct map backings;			/* nodeid -> struct backing */
};

/* What the next reply on this thread is: both hooks run on the thread that replies. */
static __thread bool reply_is_init;
static __thread int32_t reply_backing_id;

static void set_cached(struct passthrough *p, const char *why)
{
	(void)snprintf(p->mode, sizeof(p->mode), "cached (passthrough %s)", why);
}

int passthrough_new(bool wanted, struct passthrough **ret)
{
	struct passthrough *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->wanted = wanted;
	p->fd = -1;
	set_cached(p, wanted ? "not negotiated yet" : "switched off");
	(void)pthread_mutex_init(&p->lock, NULL);
	map_init(&p->backings);
	*ret = p;
	return 0;
}

struct passthrough *passthrough_free(struct passthrough *p)
{
	struct backing *b;
	size_t pos = 0;

	if (p == NULL)
		return NULL;
	while ((b = map_next(&p->backings, &pos)) != NULL)
		free(b); /* the kernel drops the ids with the connection */
	map_done(&p->backings);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

static int backing_open(int session_fd, int fd)
{
	struct k_backing_map arg = {.fd = fd};
	int id = ioctl(session_fd, K_IOC_BACKING_OPEN, &arg);

	return id < 0 ? -errno : id;
}

static void backing_close(int session_fd, int32_t id)
{
	uint32_t arg = (uint32_t)id;

	(void)ioctl(session_fd, K_IOC_BACKING_CLOSE, &arg);
}

/* The kernel has agreed to passthrough; whether we may use it, one try with a memory file tells. */
static void probe_locked(struct passthrough *p)
{
	cleanup_fd int fd = memfd_create("passthrough-probe", MFD_CLOEXEC);
	int id = fd < 0 ? -errno : backing_open(p->fd, fd);
	char why[128];

	if (id > 0) {
		backing_close(p->fd, id);
		(void)snprintf(p->mode, sizeof(p->mode), "passthrough");
		p->enabled = true;
		return;
	}
	(void)snprintf(why, sizeof(why), "refused: %s", err_describe(-id));
	if (id == -EPERM)
		set_cached(p, "needs CAP_SYS_ADMIN");
	else if (id == -ENOTTY || id == -EOPNOTSUPP)
		set_cached(p, "the kernel does not support it");
	else
		set_cached(p, why);
}

/* Whether the reply agrees to passthrough. */
static bool patch_init_locked(struct passthrough *p, struct k_init_out *out)
{
	/* Without it every write asks for security.capability first, see fuse_init_out. */
	if ((p->offered_flags & K_HANDLE_KILLPRIV_V2) != 0)
		out->flags |= K_HANDLE_KILLPRIV_V2;
	if (!p->wanted)
		return false;
	if ((p->offered_flags & K_INIT_EXT) == 0 || (p->offered_flags2 & K2_PASSTHROUGH) == 0) {
		set_cached(p, "the kernel does not offer it (Linux 6.9 does)");
		return false;
	}
	out->flags |= K_INIT_EXT;
	out->flags &= ~K_WRITEBACK_CACHE; /* excludes passthrough */
	out->flags2 |= K2_PASSTHROUGH;
	out->max_stack_depth = 1; /* the backing file must not lie on a stacked file system */
	return true;
}

/* Opens wait for the end of this: one node must not be open both ways. */
static ssize_t reply_init(struct passthrough *p, int fd, struct iovec *iov, int count)
{
	bool agreed = false;
	ssize_t n;

	(void)pthread_mutex_lock(&p->lock);
	if (count == 2 && iov[1].iov_len == sizeof(struct k_init_out))
		agreed = patch_init_locked(p, iov[1].iov_base);
	n = writev(fd, iov, count);
	if (n >= 0 && agreed)
		probe_locked(p);
	(void)pthread_mutex_unlock(&p->lock);
	if (n >= 0 && count == 2 && p->ready != NULL) /* a refusal is a header alone */
		p->ready(p->ready_arg);
	return n;
}

static ssize_t hook_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct passthrough *p = *(struct passthrough **)userdata;

	if (reply_is_init) {
		reply_is_init = false;
		return reply_init(p, fd, iov, count);
	}
	if (count == 2 && reply_backing_id > 0 && iov[1].iov_len == sizeof(struct k_open_out)) {
		struct k_open_out *out = iov[1].iov_base;

		out->open_flags |= K_FOPEN_PASSTHROUGH;
		out->open_flags &= ~K_FOPEN_KEEP_CACHE;
		out->backing_id = reply_backing_id;
	}
	return writev(fd, iov, count);
}

static ssize_t hook_read(int fd, void *buf, size_t len, void *userdata)
{
	struct passthrough *p = *(struct passthrough **)userdata;
	ssize_t n = read(fd, buf, len);
	const struct k_in_header *in = buf;

	/*
	 * A socket whose other end has gone: what the device says of an unmount. (libfuse prints
	 * any other error, and is cancelled while it holds the lock of stderr.)
	 */
	if (n == 0 || (n < 0 && errno == ECONNRESET)) {
		errno = ENODEV;
		return -1;
	}
	if (n >= (ssize_t)(sizeof(*in) + sizeof(struct k_init_in)) && in->opcode == K_FUSE_INIT) {
		const struct k_init_in *init = (const void *)(in + 1);

		p->offered_flags = init->flags;
		p->offered_flags2 = (init->flags & K_INIT_EXT) != 0 ? init->flags2 : 0;
	}
	return n;
}

int passthrough_attach(struct passthrough *p, struct fuse_session *se, int fd)
{
	static const struct fuse_custom_io io = {.read = hook_read, .writev = hook_writev};
	int r;

	p->fd = fd;
	r = fuse_session_custom_io(se, &io, fd);
	return r == 0 ? 0 : -EINVAL;
}

void passthrough_expect_init(struct passthrough *p, void (*ready)(void *arg), void *arg)
{
	p->ready = ready;
	p->ready_arg = arg;
	reply_is_init = true;
}

bool passthrough_enabled(struct passthrough *p)
{
	bool enabled;

	(void)pthread_mutex_lock(&p->lock);
	enabled = p->enabled;
	(void)pthread_mutex_unlock(&p->lock);
	return enabled;
}

const char *passthrough_mode(struct passthrough *p)
{
	(void)passthrough_enabled(p); /* known once that is */
	return p->mode;
}

int passthrough_open(struct passthrough *p, uint64_t nodeid, int fd)
{
	cleanup_free struct backing *fresh = calloc(1, sizeof(*fresh));
	struct backing *b;
	int r;

	if (fresh == NULL)
		return -ENOMEM;
	(void)pthread_mutex_lock(&p->lock);
	b = map_get(&p->backings, &nodeid, sizeof(nodeid));
	if (b == NULL) {
		r = backing_open(p->fd, fd);
		if (r <= 0)
			goto out;
		*fresh = (struct backing){.nodeid = nodeid, .id = r};
		r = map_put(&p->backings, &fresh->nodeid, sizeof(fresh->nodeid), fresh);
		if (r < 0) {
			backing_close(p->fd, fresh->id);
			goto out;
		}
		b = steal_ptr(fresh);
	}
	b->opens++;
	r = b->id;
out:
	(void)pthread_mutex_unlock(&p->lock);
	return r == 0 ? -EIO : r;
}

void passthrough_close(struct passthrough *p, uint64_t nodeid)
{
	struct backing *b;

	(void)pthread_mutex_lock(&p->lock);
	b = map_get(&p->backings, &nodeid, sizeof(nodeid));
	if (b != NULL && --b->opens == 0) {
		(void)map_del(&p->backings, &nodeid, sizeof(nodeid));
		backing_close(p->fd, b->id);
		free(b);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

int passthrough_reply_open(struct passthrough *p, fuse_req_t req, struct fuse_file_info *fi,
			   int backing_id)
{
	int r;

	(void)p;
	reply_backing_id = backing_id;
	r = fuse_reply_open(req, fi);
	reply_backing_id = 0;
	return r;
}
