/*
 * FUSE requests into a mount over a socketpair. One mount serves all inputs; behind each input
 * everything is released, forgotten and removed, and the mount must know no node any more.
 *
 * An input is a sequence of requests: which (index into ops), of which node or open file, so
 * many bytes that follow, the bytes. They are what the kernel could send: an open file is named by
 * a number that the mount has given out, a message is as long as its struct, names end. What the
 * kernel does not do, libfuse does not check.
 */
#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/stat.h>

#include "lib/fuse_wire.h"
#include "lib/memory_source.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/ingest.h"
#include "store/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_REQUESTS 64
#define MAX_PAYLOAD 255
#define MAX_NODES 512
#define MAX_FILES MAX_REQUESTS
#define MAX_IO (64U << 10)

enum kind { OF_NODE, OF_FILE, OF_DIR };

static const struct op {
	uint32_t opcode;
	uint32_t body; /* bytes of its struct; names and data follow */
	enum kind kind;
} ops[] = {
	{FUSE_LOOKUP, 0, OF_NODE},
	{FUSE_FORGET, sizeof(struct fuse_forget_in), OF_NODE},
	{FUSE_GETATTR, sizeof(struct fuse_getattr_in), OF_NODE},
	{FUSE_SETATTR, sizeof(struct fuse_setattr_in), OF_NODE},
	{FUSE_MKNOD, sizeof(struct fuse_mknod_in), OF_NODE},
	{FUSE_MKDIR, sizeof(struct fuse_mkdir_in), OF_NODE},
	{FUSE_UNLINK, 0, OF_NODE},
	{FUSE_RMDIR, 0, OF_NODE},
	{FUSE_SYMLINK, 0, OF_NODE},
	{FUSE_RENAME, sizeof(struct fuse_rename_in), OF_NODE},
	{FUSE_RENAME2, sizeof(struct fuse_rename2_in), OF_NODE},
	{FUSE_LINK, sizeof(struct fuse_link_in), OF_NODE},
	{FUSE_OPEN, sizeof(struct fuse_open_in), OF_NODE},
	{FUSE_CREATE, sizeof(struct fuse_create_in), OF_NODE},
	{FUSE_READ, sizeof(struct fuse_read_in), OF_FILE},
	{FUSE_WRITE, sizeof(struct fuse_write_in), OF_FILE},
	{FUSE_FLUSH, sizeof(struct fuse_flush_in), OF_FILE},
	{FUSE_FSYNC, sizeof(struct fuse_fsync_in), OF_FILE},
	{FUSE_RELEASE, sizeof(struct fuse_release_in), OF_FILE},
	{FUSE_OPENDIR, sizeof(struct fuse_open_in), OF_NODE},
	{FUSE_READDIR, sizeof(struct fuse_read_in), OF_DIR},
	{FUSE_READDIRPLUS, sizeof(struct fuse_read_in), OF_DIR},
	{FUSE_RELEASEDIR, sizeof(struct fuse_release_in), OF_DIR},
	{FUSE_STATFS, 0, OF_NODE},
	{FUSE_GETXATTR, sizeof(struct fuse_getxattr_in), OF_NODE},
	{FUSE_LISTXATTR, sizeof(struct fuse_getxattr_in), OF_NODE},
	{FUSE_SETXATTR, FUSE_COMPAT_SETXATTR_IN_SIZE, OF_NODE},
	{FUSE_INTERRUPT, sizeof(struct fuse_interrupt_in), OF_NODE},
	{FUSE_LSEEK, sizeof(struct fuse_lseek_in), OF_NODE},
	{FUSE_ACCESS, sizeof(struct fuse_access_in), OF_NODE},
};
#define N_OPS (sizeof(ops) / sizeof(ops[0]))

struct open_file {
	uint64_t node, fh;
	enum kind kind;
	bool flushed;
};

struct made_dir {
	uint64_t node, parent;
	char name[MAX_PAYLOAD + 1];
};

/* What the kernel would remember. */
static struct {
	struct fuse_forget_one nodes[MAX_NODES]; /* nlookup: how often it was told */
	size_t n_nodes;
	struct open_file files[MAX_FILES];
	size_t n_files;
	struct made_dir dirs[MAX_REQUESTS];
	size_t n_dirs;
} kernel;

static struct tmp_store tmp;
static struct memory_source source;
static struct wire wire;

static void stop(void)
{
	memory_source_done(&source);
	(void)wire_stop(&wire);
	tmp_store_close(&tmp);
}

static void start(void)
{
	struct digest d;

	/* Where a sync costs nothing. */
	if (access("/dev/shm", W_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 1); /* NOLINT(concurrency-mt-unsafe) */
	tmp_store_open(&tmp);
	assert(tmp.store != NULL);
	memory_source_init(&source);
	memory_source_add(&source, "known", 5, /* known= */ true, &d);
	memory_source_add(&source, "found by lookup", 15, /* known= */ false, &d);
	wire_init(&wire);
	wire.pid = 0; /* of another pid namespace: no search in /proc */
	assert(wire_start(&wire, tmp.store, &source.base) == 0);
	(void)atexit(stop);
}

static void remember(uint64_t node)
{
	for (size_t i = 0; i < kernel.n_nodes; i++) {
		if (kernel.nodes[i].nodeid == node) {
			kernel.nodes[i].nlookup++;
			return;
		}
	}
	assert(kernel.n_nodes < MAX_NODES);
	kernel.nodes[kernel.n_nodes++] = (struct fuse_forget_one){.nodeid = node, .nlookup = 1};
}

static void forget_all(void)
{
	wire_batch_forget(&wire, kernel.nodes, (uint32_t)kernel.n_nodes);
	kernel.n_nodes = 0;
}

static void release(size_t i)
{
	struct open_file f = kernel.files[i];
	int r;

	kernel.files[i] = kernel.files[--kernel.n_files];
	r = wire_end(&wire, f.kind == OF_DIR ? FUSE_RELEASEDIR : FUSE_RELEASE, f.node, f.fh);
	if (r < 0)
		(void)fprintf(stderr, "release: %s\n", err_describe(-r));
	assert(r == 0);
}

/* RELEASE follows the last FLUSH; an open or rm would wait for it. */
static void release_flushed(void)
{
	for (size_t i = kernel.n_files; i > 0; i--)
		if (kernel.files[i - 1].flushed)
			release(i - 1);
}

/* One of the fixed nodes, of those that were told, or none at all. */
static uint64_t node_at(uint8_t n)
{
	if (n < 8)
		return n;
	if (kernel.n_nodes > 0 && n < 248)
		return kernel.nodes[n % kernel.n_nodes].nodeid;
	return (uint64_t)n << 36;
}

static struct open_file *file_at(uint8_t n, enum kind kind)
{
	for (size_t i = 0; i < kernel.n_files; i++) {
		struct open_file *f = &kernel.files[(i + n) % kernel.n_files];

		if (f->kind == kind)
			return f;
	}
	return NULL;
}

struct request {
	const struct op *op;
	uint64_t node;
	struct open_file *file;
	union {
		char bytes[sizeof(struct fuse_setattr_in) + MAX_PAYLOAD + 8];
		struct fuse_forget_in forget;
		struct fuse_getattr_in getattr;
		struct fuse_setattr_in setattr;
		struct fuse_read_in read;
		struct fuse_write_in write;
		struct fuse_release_in release; /* fh is first in each that has one */
		struct fuse_getxattr_in getxattr;
		struct fuse_setxattr_in setxattr;
	} in;
	size_t n;
};

/* Make of the bytes what a kernel could mean by them. */
static void repair(struct request *q)
{
	size_t rest = q->n - q->op->body;

	if (q->file != NULL)
		q->in.release.fh = q->file->fh;
	switch (q->op->opcode) {
	case FUSE_GETATTR:
		q->in.getattr.getattr_flags = 0;
		break;
	case FUSE_SETATTR:
		q->in.setattr.valid &= ~(uint32_t)FATTR_FH;
		/* A sparse file is hashed whole. */
		q->in.setattr.size %= q->in.setattr.size > INT64_MAX ? UINT64_MAX : MAX_IO;
		break;
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		q->in.read.size %= MAX_IO;
		break;
	case FUSE_WRITE:
		q->in.write.size = (uint32_t)rest;
		q->in.write.offset %= q->in.write.offset > INT64_MAX ? UINT64_MAX : MAX_IO;
		break;
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		q->in.getxattr.size %= MAX_IO;
		break;
	case FUSE_SETXATTR:
		q->in.setxattr.size %= (uint32_t)rest + 1;
		break;
	default:
		break;
	}
}

static void remember_file(uint64_t node, uint64_t fh, enum kind kind)
{
	kernel.files[kernel.n_files++] = (struct open_file){.node = node, .fh = fh, .kind = kind};
}

static void take_reply(const struct request *q, const struct wire_reply *a)
{
	const struct fuse_entry_out *e = (const void *)a->data;
	const struct fuse_open_out *o = (const void *)a->data;
	struct made_dir *d;
	size_t pos = 0;

	switch (q->op->opcode) {
	case FUSE_MKDIR:
		d = &kernel.dirs[kernel.n_dirs++];
		d->node = e->nodeid;
		d->parent = q->node;
		(void)snprintf(d->name, sizeof(d->name), "%s", q->in.bytes + q->op->body);
		remember(e->nodeid);
		break;
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
		remember(e->nodeid);
		break;
	case FUSE_CREATE:
		remember(e->nodeid);
		o = (const void *)(e + 1);
		remember_file(e->nodeid, o->fh, OF_FILE);
		break;
	case FUSE_OPEN:
		remember_file(q->node, o->fh, OF_FILE);
		break;
	case FUSE_OPENDIR:
		remember_file(q->node, o->fh, OF_DIR);
		break;
	case FUSE_READDIRPLUS:
		while (wire_next_entry(a->data, (ssize_t)a->len, &pos, true, &e) != NULL)
			if (e->nodeid != 0)
				remember(e->nodeid);
		break;
	default:
		break;
	}
}

static bool is_made_dir(uint64_t node)
{
	for (size_t i = 0; i < kernel.n_dirs; i++)
		if (kernel.dirs[i].node == node)
			return true;
	return false;
}

/* No more than was told, and no directory that clean_up() wants to remove what is in it from. */
static void forget_some(const struct request *q)
{
	for (size_t i = 0; i < kernel.n_nodes && !is_made_dir(q->node); i++) {
		struct fuse_forget_one *node = &kernel.nodes[i];
		uint64_t n = q->in.forget.nlookup % (node->nlookup + 1);

		if (node->nodeid != q->node)
			continue;
		wire_forget(&wire, node->nodeid, n);
		node->nlookup -= n;
		if (node->nlookup == 0)
			*node = kernel.nodes[--kernel.n_nodes];
		return;
	}
}

static void send_request(struct request *q)
{
	struct wire_reply a;
	int r;

	if (q->op->opcode == FUSE_FORGET) {
		forget_some(q);
		return;
	}
	if (q->op->opcode == FUSE_RELEASE || q->op->opcode == FUSE_RELEASEDIR) {
		release((size_t)(q->file - kernel.files));
		return;
	}
	if (q->op->opcode == FUSE_OPEN || q->op->opcode == FUSE_CREATE ||
	    q->op->opcode == FUSE_UNLINK)
		release_flushed();
	r = wire_receive(&wire, wire_send(&wire, q->op->opcode, q->node, q->in.bytes, q->n), &a);
	assert(r <= 0 && r != -ETIME && r != -EPROTO && r != -ENODEV);
	if (q->op->opcode == FUSE_FLUSH)
		q->file->flushed = true;
	if (r < 0)
		return;
	take_reply(q, &a);
	free(a.data);
}

static void one_request(const struct op *op, uint8_t which, const uint8_t *payload, size_t n)
{
	struct request q = {.op = op, .n = n > op->body ? n : op->body};

	if (op->opcode == FUSE_INTERRUPT) { /* of what comes next, or came before */
		wire_interrupt(&wire, wire.unique + 2 * (uint64_t)(which % 4));
		return;
	}
	if (op->kind != OF_NODE) {
		q.file = file_at(which, op->kind);
		if (q.file == NULL)
			return;
	}
	q.node = q.file != NULL ? q.file->node : node_at(which);
	memcpy(q.in.bytes, payload, n);
	repair(&q);
	if (op->opcode != FUSE_WRITE)
		q.n += 3; /* up to three names end */
	send_request(&q);
}

static int remove_ref(void *arg, const struct ingest_status *st)
{
	(void)arg;
	return ingest_remove(tmp.store, st->ref, NULL);
}

static int remove_blob(void *arg, const struct digest *d, const struct stat *st)
{
	cleanup_buf struct buf b;

	(void)arg;
	(void)st;
	buf_init(&b, 4 << 20);
	assert(blob_read(tmp.store, d, &b, NULL) == 0); /* named and right */
	return blob_delete(tmp.store, d);
}

static void expect(const char *counter)
{
	/* FORGET has no reply. */
	for (int i = 0; i < 1000 && wire_counter(&wire, counter) != 0; i++)
		(void)sched_yield();
	assert(wire_counter_becomes(&wire, counter, 0));
}

/* An unmount: all is closed, removed and forgotten. */
static void clean_up(void)
{
	while (kernel.n_files > 0)
		release(kernel.n_files - 1);
	assert(ingest_walk(tmp.store, remove_ref, NULL) == 0);
	for (; kernel.n_dirs > 0; kernel.n_dirs--)
		(void)wire_rmdir(&wire, kernel.dirs[kernel.n_dirs - 1].parent,
				 kernel.dirs[kernel.n_dirs - 1].name);
	assert(walk_blobs(tmp.store, remove_blob, NULL) == 0);
	forget_all();
	expect("known_inodes");
	expect("known_refs");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (wire.mount == NULL)
		start();
	for (int i = 0; i < MAX_REQUESTS && size >= 3; i++) {
		size_t n = data[2] < size - 3 ? data[2] : size - 3;

		one_request(&ops[data[0] % N_OPS], data[1], data + 3, n);
		wire_drop_kept(&wire);
		data += 3 + n;
		size -= 3 + n;
	}
	clean_up();
	return 0;
}
