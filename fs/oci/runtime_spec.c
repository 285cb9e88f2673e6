#include "oci/runtime_spec.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/buf.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What a container's root may do: the set that Docker and containerd grant. */
static const char *const capabilities[] = {
	"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",	   "CAP_FOWNER",
	"CAP_MKNOD",   "CAP_NET_RAW",	   "CAP_SETGID",	   "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP",	   "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
	"CAP_KILL",    "CAP_AUDIT_WRITE",
};

static const char *const masked_paths[] = {
	"/proc/acpi",	       "/proc/asound",	   "/proc/kcore",	"/proc/keys",
	"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/proc/scsi",	       "/sys/firmware",
};

static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

#define N(array) (sizeof(array) / sizeof((array)[0]))

struct mount {
	const char *destination, *type, *source;
	const char *options; /* comma separated */
};

/* What runtime spec's "Default Filesystems" and every runtime's own template mount. */
static const struct mount mounts[] = {
	{"/proc", "proc", "proc", "nosuid,noexec,nodev"},
	{"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
	{"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{"/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"},
	{"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
	{"/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"},
	{"/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"},
};

/* In a user namespace of one id: gid 5 is nobody's there, and a sysfs needs a network namespace. */
static const struct mount rootless_mounts[] = {
	{"/proc", "proc", "proc", "nosuid,noexec,nodev"},
	{"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
	{"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620"},
	{"/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"},
	{"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
	{"/sys", "none", "/sys", "rbind,nosuid,noexec,nodev,ro"},
};

/* Each adds to o; false when memory is short, which is told once, at the end. */
static bool add(json_t *o, const char *key, json_t *v)
{
	return v != NULL && json_object_set_new(o, key, v) == 0;
}

static bool push(json_t *array, json_t *v)
{
	return v != NULL && json_array_append_new(array, v) == 0;
}

/* v, or NULL having released it. */
static json_t *finish(json_t *v, bool ok)
{
	if (ok)
		return v;
	json_decref(v);
	return NULL;
}

static json_t *strings(const char *const *s, size_t n)
{
	json_t *a = json_array();
	bool ok = a != NULL;

	for (size_t i = 0; i < n && ok; i++)
		ok = push(a, json_string(s[i]));
	return finish(a, ok);
}

/* "a,b,c" */
static json_t *split(const char *s)
{
	json_t *a = json_array();
	bool ok = a != NULL;

	while (*s != '\0' && ok) {
		size_t n = strcspn(s, ",");

		ok = push(a, json_stringn(s, n));
		s += n + (s[n] == ',');
	}
	return finish(a, ok);
}

static bool has_env(const struct image_config *c, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < c->env.n; i++)
		if (strncmp(c->env.s[i], name, n) == 0 && c->env.s[i][n] == '=')
			return true;
	return false;
}

static json_t *make_env(const struct image_config *c, const struct runtime_options *o)
{
	json_t *a = json_array();
	bool ok = a != NULL && (has_env(c, "PATH") || push(a, json_string(DEFAULT_PATH)));

	/* a name without a value sets nothing, and runtimes refuse it */
	for (size_t i = 0; i < c->env.n && ok; i++)
		if (strchr(c->env.s[i], '=') != NULL && c->env.s[i][0] != '=')
			ok = push(a, json_string(c->env.s[i]));
	if (ok && !has_env(c, "HOME"))
		ok = push(a,
			  json_sprintf("HOME=%s", o->user->home[0] != '\0' ? o->user->home : "/"));
	if (ok && o->terminal && !has_env(c, "TERM"))
		ok = push(a, json_string("TERM=xterm"));
	return finish(a, ok);
}

static json_t *make_args(const struct image_config *c, const struct runtime_options *o)
{
	json_t *a = strings(c->entrypoint.s, c->entrypoint.n);
	bool ok = a != NULL;

	for (char **arg = o->args; arg != NULL && *arg != NULL && ok; arg++)
		ok = push(a, json_string(*arg));
	for (size_t i = 0; (o->args == NULL || o->args[0] == NULL) && i < c->cmd.n && ok; i++)
		ok = push(a, json_string(c->cmd.s[i]));
	return finish(a, ok);
}

static json_t *make_user(const struct runtime_options *o)
{
	json_t *u = json_pack("{s:I, s:I}", "uid", (json_int_t)o->user->uid, "gid",
			      (json_int_t)o->user->gid);
	json_t *groups = json_array();
	bool ok = u != NULL && groups != NULL;

	/* in a user namespace of one id there are no others to have */
	for (size_t i = 0; i < o->user->n_groups && !o->rootless && ok; i++)
		ok = push(groups, json_integer((json_int_t)o->user->groups[i]));
	if (ok && json_array_size(groups) > 0)
		ok = json_object_set(u, "additionalGids", groups) == 0;
	json_decref(groups);
	return finish(u, ok);
}

static json_t *make_capabilities(void)
{
	json_t *o = json_object();
	bool ok = o != NULL && add(o, "bounding", strings(capabilities, N(capabilities))) &&
		  add(o, "effective", strings(capabilities, N(capabilities))) &&
		  add(o, "permitted", strings(capabilities, N(capabilities)));

	return finish(o, ok);
}

static json_t *make_process(const struct image_config *c, const struct runtime_options *o)
{
	const char *dir = c->working_dir;
	json_t *p = json_object();
	bool ok = p != NULL && add(p, "terminal", json_boolean(o->terminal)) &&
		  add(p, "user", make_user(o)) && add(p, "args", make_args(c, o)) &&
		  add(p, "env", make_env(c, o)) &&
		  add(p, "cwd", json_sprintf("%s%s", dir[0] == '/' ? "" : "/", dir)) &&
		  add(p, "capabilities", make_capabilities()) &&
		  add(p, "noNewPrivileges", json_true());

	return finish(p, ok);
}

static json_t *make_mount(const struct mount *m)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "destination", m->destination, "type", m->type,
			      "source", m->source);

	return finish(o, o != NULL && add(o, "options", split(m->options)));
}

static json_t *make_mounts(const struct runtime_options *o)
{
	const struct mount *list = o->rootless ? rootless_mounts : mounts;
	size_t n = o->rootless ? N(rootless_mounts) : N(mounts);
	json_t *a = json_array();
	bool ok = a != NULL;

	for (size_t i = 0; i < n && ok; i++)
		ok = push(a, make_mount(&list[i]));
	for (size_t i = 0; i < o->n_volumes && ok; i++) {
		struct mount m = {o->volumes[i].destination, "bind", o->volumes[i].source,
				  "rbind,rw"};

		ok = push(a, make_mount(&m));
	}
	return finish(a, ok);
}

static json_t *make_namespaces(bool rootless)
{
	static const char *const types[] = {"pid", "ipc", "uts", "mount"};
	json_t *a = json_array();
	bool ok = a != NULL;

	for (size_t i = 0; i < N(types) && ok; i++)
		ok = push(a, json_pack("{s:s}", "type", types[i]));
	if (ok)
		ok = push(a, json_pack("{s:s}", "type", rootless ? "user" : "network"));
	return finish(a, ok);
}

static bool add_id_mappings(json_t *l, const struct runtime_options *o)
{
	return add(l, "uidMappings",
		   json_pack("[{s:i, s:I, s:i}]", "containerID", 0, "hostID",
			     (json_int_t)o->host_uid, "size", 1)) &&
	       add(l, "gidMappings",
		   json_pack("[{s:i, s:I, s:i}]", "containerID", 0, "hostID",
			     (json_int_t)o->host_gid, "size", 1));
}

static json_t *make_linux(const struct runtime_options *o)
{
	json_t *l = json_object();
	bool ok = l != NULL && add(l, "namespaces", make_namespaces(o->rootless)) &&
		  add(l, "maskedPaths", strings(masked_paths, N(masked_paths))) &&
		  add(l, "readonlyPaths", strings(readonly_paths, N(readonly_paths)));

	if (ok && o->rootless)
		ok = add_id_mappings(l, o);
	if (ok && !o->rootless)
		ok = add(l, "resources",
			 json_pack("{s:[{s:b, s:s}]}", "devices", "allow", 0, "access", "rwm"));
	return finish(l, ok);
}

/* conversion.md "Annotation Fields": only what the image says. */
static bool annotate(json_t *a, const char *key, const char *value)
{
	char name[64] = "org.opencontainers.image.";

	if (value[0] == '\0')
		return true;
	strncat(name, key, sizeof(name) - strlen(name) - 1);
	return add(a, name, json_string(value));
}

static bool annotate_ports(json_t *a, const struct image_config *c)
{
	cleanup_buf struct buf text;
	int r = 0;

	buf_init(&text, IMAGE_CONFIG_MAX_BYTES);
	for (size_t i = 0; i < c->exposed_ports.n && r == 0; i++)
		r = buf_printf(&text, "%s%s", i > 0 ? "," : "", c->exposed_ports.s[i]);
	return r == 0 && annotate(a, "exposedPorts", text.data);
}

/* Labels last: what the image says itself goes before what we tell of it. */
static json_t *make_annotations(const struct image_config *c)
{
	json_t *a = json_object();
	bool ok = a != NULL && annotate(a, "os", c->platform.os) &&
		  annotate(a, "architecture", c->platform.arch) &&
		  annotate(a, "variant", c->platform.variant) &&
		  annotate(a, "os.version", c->platform.os_version) &&
		  annotate(a, "author", c->author) && annotate(a, "created", c->created) &&
		  annotate(a, "stopSignal", c->stop_signal) && annotate_ports(a, c);

	/* the runtime spec wants keys that are not empty */
	for (size_t i = 0; i < c->label_keys.n && ok; i++)
		if (c->label_keys.s[i][0] != '\0')
			ok = add(a, c->label_keys.s[i], json_string(c->label_values.s[i]));
	return finish(a, ok);
}

int runtime_spec_make(const struct image_config *c, const struct runtime_options *o, char **ret,
		      struct err *err)
{
	json_t *spec = json_object();
	char *text = NULL;
	bool ok = spec != NULL && add(spec, "ociVersion", json_string("1.0.2")) &&
		  add(spec, "process", make_process(c, o)) &&
		  add(spec, "root", json_pack("{s:s, s:b}", "path", "rootfs", "readonly", 0)) &&
		  add(spec, "mounts", make_mounts(o)) &&
		  add(spec, "annotations", make_annotations(c)) &&
		  add(spec, "linux", make_linux(o));
	bool runs = ok &&
		    json_array_size(json_object_get(json_object_get(spec, "process"), "args")) > 0;

	if (runs)
		text = json_dumps(spec, JSON_INDENT(2));
	json_decref(spec);
	if (ok && !runs)
		return err_set(err, EINVAL,
			       "the image names no command to run, and none was given");
	if (text == NULL)
		return err_set(err, ENOMEM, "out of memory");
	*ret = text;
	return 0;
}
