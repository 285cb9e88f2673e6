#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mount/printed.h"
#include "mount/private.h"
#include "mount/readahead.h"

#define LOOP_THREADS 8	/* read requests; none of them ever blocks for long */
#define WORK_THREADS 16 /* commits and the like: bounded by what the disk takes at once */
#define ANSWER_THREADS 8
#define TTL_WATCHED 3600.0
#define TTL_UNWATCHED 1.0

int errno_for_kernel(int r)
{
	switch (-r) {
	case ENODATA: /* size mismatches of ingest_commit(): the content is not what was said */
	case EFBIG:
		return EBADMSG;
	case EPROTO: /* a registry's nonsense means nothing to cat */
		return EIO;
	default:
		return -r;
	}
}

uint64_t digest_ino(const struct digest *d)
{
	uint64_t n;

	memcpy(&n, d->bytes, sizeof(n));
	return n | (1ULL << 62); /* never a fixed node's */
}

uint64_t ref_ino(const struct mount *m, const char *ref)
{
	struct digest d = {{0}};

	(void)digest_of(ref, strlen(ref), &d);
	return (digest_ino(&d) ^ m->ino_salt) | (1ULL << 63);
}

bool fixed_attr(struct mount *m, fuse_ino_t ino, struct stat *st)
{
	if (ino < INO_ROOT || ino > INO_ACTIVE)
		return false;
	*st = (struct stat){
		.st_ino = ino,
		.st_uid = m->root.st_uid,
		.st_gid = m->root.st_gid,
		.st_atim = m->root.st_mtim,
		.st_mtim = m->root.st_mtim,
		.st_ctim = m->root.st_mtim,
		.st_mode = S_IFDIR | 0755,
		.st_nlink = 2,
	};
	if (ino == INO_ACTIVE) {
		st->st_mode = S_IFREG | 0444;
		st->st_nlink = 1;
	}
	if (ino == INO_INGEST) {
		st->st_mode = S_IFDIR | (m->ingest.st_mode & 07777);
		st->st_uid = m->ingest.st_uid;
		st->st_gid = m->ingest.st_gid;
	}
	if (ino == INO_SHA256 && store_blobs_fd(m->store) >= 0) {
		struct stat backing;

		/* rm of a blob is the owner's right, so that is the backing directory's too. */
		if (fstat(store_blobs_fd(m->store), &backing) == 0) {
			st->st_mode = S_IFDIR | (backing.st_mode & 07777);
			st->st_uid = backing.st_uid;
			st->st_gid = backing.st_gid;
			st->st_mtim = backing.st_mtim;
			st->st_ctim = backing.st_ctim;
		}
	}
	return true;
}

static void run_job(struct work *w)
{
	struct job *j = list_entry(w, struct job, work);

	j->run(j);
	free(j);
}

void job_start(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi,
	       void (*run)(struct job *j), void *arg)
{
	struct job *j = malloc(sizeof(*j));
	struct job job = {
		.work.run = run_job,
		.m = mount_of(req),
		.req = req,
		.pid = fuse_req_ctx(req)->pid,
		.ino = ino,
		.arg = arg,
		.run = run,
	};

	if (fi != NULL)
		job.fi = *fi;
	if (j == NULL) { /* nobody would send a RELEASE again */
		run(&job);
		return;
	}
	*j = job;
	workqueue_add(j->m->work, &j->work);
}

const char *mount_read_mode(struct mount *m)
{
	return passthrough_mode(m->passthrough);
}

int mount_status(struct mount *m, struct buf *out)
{
	const struct {
		const char *name;
		unsigned long long value;
	} rows[] = {
		{"opens_passthrough", atomic_load(&m->n.opens_passthrough)},
		{"opens_cached", atomic_load(&m->n.opens_cached)},
		{"commits", atomic_load(&m->n.commits)},
		{"commit_failures", atomic_load(&m->n.commit_failures)},
		{"remote_lookups", atomic_load(&m->n.lookups_remote)},
		{"remote_reads", atomic_load(&m->n.remote_reads)},
		{"remote_errors", atomic_load(&m->n.remote_errors)},
		{"known_inodes", blob_table_count(m->blobs)},
		{"known_refs", ref_tree_count(m->refs)},
	};
	int r = buf_printf(out, "version %s\nroot %s\npid %ld\nreads %s\n", CONTENTFS_VERSION,
			   store_root(m->store), (long)getpid(), mount_read_mode(m));

	for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
		r = buf_printf(out, "%s %llu\n", rows[i].name, rows[i].value);
	if (r == 0 && m->more_status != NULL)
		r = m->more_status(m->more_status_arg, out);
	return r;
}

static int build_args(const struct mount_config *c, struct fuse_args *args)
{
	char options[2048];
	int n;

	/* default_permissions: the kernel checks modes, so that users cannot reach each other's
	 * ingests under allow_other. */
	n = snprintf(options, sizeof(options),
		     "fsname=contentfs,subtype=contentfs,default_permissions%s%s%s%s",
		     c->allow_other ? ",allow_other" : "", c->read_only ? ",ro" : "",
		     c->options != NULL && c->options[0] != '\0' ? "," : "",
		     c->options != NULL ? c->options : "");
	if (n < 0 || (size_t)n >= sizeof(options))
		return -E2BIG;
	if (fuse_opt_add_arg(args, "contentfs") != 0 || fuse_opt_add_arg(args, "-o") != 0 ||
	    fuse_opt_add_arg(args, options) != 0)
		return -ENOMEM;
	if (c->debug && fuse_opt_add_arg(args, "-d") != 0)
		return -ENOMEM;
	return 0;
}

/* libfuse wants to hear in init() what the mount option has said. 0: nothing. */
static unsigned int max_read_of(const char *options)
{
	const char *at = options != NULL ? strstr(options, "max_read=") : NULL;

	return at != NULL ? (unsigned int)strtoul(at + strlen("max_read="), NULL, 10) : 0;
}

static int make_parts(struct mount *m, const struct mount_config *config)
{
	struct stat st;
	int r = passthrough_new(config->passthrough, &m->passthrough);

	if (r == 0)
		r = blob_table_new(&m->blobs);
	if (r == 0)
		r = ref_tree_new(&m->refs);
	if (r == 0)
		r = workqueue_new(WORK_THREADS, &m->work);
	if (r == 0)
		r = workqueue_new(ANSWER_THREADS, &m->answers);
	if (r == 0 && fstat(store_root_fd(m->store), &m->root) < 0)
		r = -errno;
	if (r == 0 && store_ingest_fd(m->store) >= 0 && fstat(store_ingest_fd(m->store), &st) == 0)
		m->ingest = st;
	else
		m->ingest = m->root;
	/* Without the kernel's random bytes the address is unlike other file systems' inodes too */
	if (getrandom(&m->ino_salt, sizeof(m->ino_salt), GRND_NONBLOCK) < 0)
		m->ino_salt = (uint64_t)(uintptr_t)m << 16;
	return r;
}

int mount_new(const struct mount_config *config, struct mount **ret, struct err *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct printed printed;
	struct mount *m = calloc(1, sizeof(*m));
	int r;

	if (m == NULL)
		return err_set(err, ENOMEM, "out of memory");
	m->store = config->store;
	m->source = config->source;
	m->read_only = config->read_only;
	m->ready = config->ready;
	m->ready_arg = config->ready_arg;
	m->more_status = config->more_status;
	m->more_status_arg = config->more_status_arg;
	m->grows = config->grows;
	m->grows_arg = config->grows_arg;
	m->blob_ttl = TTL_UNWATCHED;
	failed_reads_init(&m->failed_reads);
	r = make_parts(m, config);
	if (r < 0) {
		(void)mount_free(m);
		return err_errno(err, -r, "prepare the mount");
	}
	m->max_read = max_read_of(config->options);
	r = build_args(config, &args);
	printed_begin(&printed);
	if (r == 0)
		m->session = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), m);
	fuse_opt_free_args(&args);
	if (r < 0 || m->session == NULL) {
		char why[256];

		printed_fail(&printed, why, sizeof(why));
		(void)mount_free(m);
		return r < 0 ? err_errno(err, -r, "mount options")
			     : err_set(err, EINVAL, "mount options \"%s\": %s",
				       config->options != NULL ? config->options : "", why);
	}
	printed_pass(&printed);
	m->listener.spoilt = blobs_spoilt;
	if (m->source != NULL && m->source->ops->listen != NULL)
		m->source->ops->listen(m->source, &m->listener);
	*ret = m;
	return 0;
}

int mount_attach(struct mount *m, const char *mountpoint, struct err *err)
{
	struct printed printed;
	struct stat st;
	int r;

	if (stat(mountpoint, &st) < 0)
		return err_errno(err, errno, "mount point %s", mountpoint);
	if (!S_ISDIR(st.st_mode))
		return err_errno(err, ENOTDIR, "mount point %s", mountpoint);
	printed_begin(&printed);
	if (fuse_session_mount(m->session, mountpoint) != 0) {
		char why[256];

		printed_fail(&printed, why, sizeof(why));
		return err_set(err, EPERM, "mount on %s failed%s%s", mountpoint,
			       why[0] != '\0' ? ": " : "", why);
	}
	printed_pass(&printed);
	m->mounted = true;
	m->device = readahead_device(mountpoint);
	r = passthrough_attach(m->passthrough, m->session, fuse_session_fd(m->session));
	if (r < 0)
		return err_errno(err, -r, "attach to the FUSE device");
	m->watch = watch_new(m);
	if (m->watch != NULL)
		m->blob_ttl = TTL_WATCHED;
	return 0;
}

int mount_attach_fd(struct mount *m, int fd, struct err *err)
{
	int r = passthrough_attach(m->passthrough, m->session, fd);

	return r < 0 ? err_errno(err, -r, "attach to the FUSE device") : 0;
}

int mount_run(struct mount *m, bool handle_signals)
{
	struct fuse_loop_config *loop;
	int r;

	if (handle_signals && fuse_set_signal_handlers(m->session) != 0)
		return -EINVAL;
	loop = fuse_loop_cfg_create();
	if (loop == NULL)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(loop, LOOP_THREADS);
	fuse_loop_cfg_set_idle_threads(loop, LOOP_THREADS);
	r = fuse_session_loop_mt(m->session, loop);
	fuse_loop_cfg_destroy(loop);
	if (handle_signals)
		fuse_remove_signal_handlers(m->session);
	return r < 0 ? r : 0; /* positive: the signal that ended it, which is a clean end */
}

void mount_evicted(struct mount *m, const struct digest *d)
{
	blobs_gone(m, d);
}

void mount_stop(struct mount *m)
{
	fuse_session_exit(m->session);
}

struct mount *mount_free(struct mount *m)
{
	if (m == NULL)
		return NULL;
	if (m->source != NULL && m->source->ops->listen != NULL)
		m->source->ops->listen(m->source, NULL);
	m->watch = watch_free(m->watch);
	/* Every job replies: the session must be there still. */
	m->answers = workqueue_free(m->answers);
	m->work = workqueue_free(m->work);
	if (m->session != NULL) {
		if (m->mounted)
			fuse_session_unmount(m->session);
		fuse_session_destroy(m->session);
	}
	m->refs = ref_tree_free(m->refs);
	m->blobs = blob_table_free(m->blobs);
	failed_reads_done(&m->failed_reads);
	m->passthrough = passthrough_free(m->passthrough);
	free(m);
	return NULL;
}
