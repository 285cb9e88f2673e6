#include "dist/image_source.h"

#include <errno.h>

#include "dist/root.h"
#include "store/blob.h"

int image_source_options_init(const struct cli_program *p, struct image_source_options *ret)
{
	*ret = (struct image_source_options){.root = root_default()};
	return remote_init(p, &ret->remote);
}

int image_source_option(const struct cli_program *p, struct image_source_options *options, int o)
{
	switch (o) {
	case 'r':
		options->root = optarg;
		return CLI_OK;
	case 'P':
		options->platform = optarg;
		return CLI_OK;
	case 'N':
		options->no_fetch = true;
		return CLI_OK;
	default:
		return remote_option(p, &options->remote, o);
	}
}

static int check_interrupt(const struct image_source *s, struct err *err)
{
	return interrupted(&s->interrupt) ? err_set(err, EINTR, "interrupted") : 0;
}

static ssize_t read_checked(void *arg, void *buf, size_t n, struct err *err)
{
	struct image_source *s = arg;
	int r = check_interrupt(s, err);

	return r < 0 ? r : s->current.read(s->current.arg, buf, n, err);
}

static void cancel(void *arg)
{
	struct image_source *s = arg;

	s->current.cancel(s->current.arg);
}

static int open_layer(struct layer_source *ls, const struct descriptor *d, struct layer_stream *ret,
		      struct err *err)
{
	struct image_source *s = (struct image_source *)ls;
	int r = s->layers->open(s->layers, d, ret, err);

	if (r < 0)
		return r;
	s->current = ret->src;
	ret->src = (struct unpack_source){.read = read_checked, .cancel = cancel, .arg = s};
	return 0;
}

static void prepare(struct layer_source *ls, const struct descriptor *d)
{
	struct image_source *s = (struct image_source *)ls;

	if (s->layers->prepare != NULL)
		s->layers->prepare(s->layers, d);
}

/* 0: all of it is in the store; -ENOENT with *ret_final: a registry has no more either. */
static int open_local(const struct image_source_options *options, const char *text,
		      const struct platform *want, struct image_source *s, bool *ret_final,
		      struct err *err)
{
	struct image_weight w;
	int r = store_open(options->root, STORE_RDONLY, &s->store, err);

	if (r == 0)
		r = image_open(s->store, text, want, &s->image, err);
	if (r < 0)
		return r;
	*ret_final = s->image.manifest == NULL;
	r = image_load_config(s->store, &s->image, err);
	if (r < 0)
		return r;
	w = image_weigh(s->store, s->image.manifest);
	store_layers_init(&s->local, s->store);
	s->layers = &s->local.source;
	/* Without fetching, the layers that are here are tried first. */
	return w.n_local == w.n_layers || options->no_fetch
		       ? 0
		       : err_set(err, ENOENT, "not all layers are in the store");
}

static int open_remote(const struct image_source_options *options, const char *text,
		       const struct platform *want, struct image_source *s, struct err *err)
{
	int r;

	image_close(&s->image);
	s->store = store_close(s->store);
	r = store_open(options->root, STORE_CREATE, &s->store, err);
	if (r == 0)
		r = remote_image_open(s->store, &options->remote, text, want, &s->remote, err);
	if (r < 0)
		return r;
	s->is_remote = true;
	s->layers = &s->remote.source;
	r = image_open(s->store, digest_text(&s->remote.entry.digest).s, want, &s->image, err);
	return r == 0 ? image_load_config(s->store, &s->image, err) : r;
}

int image_source_open(const struct image_source_options *options, const char *text,
		      struct image_source *ret, struct err *err)
{
	struct platform want;
	bool final = options->no_fetch;
	int r = image_platform(options->platform, &want, err);

	*ret = (struct image_source){.source = {.open = open_layer, .prepare = prepare},
				     .interrupt.signal_fd = -1};
	if (r == 0)
		r = interrupt_begin(&ret->interrupt, err);
	if (r == 0)
		r = open_local(options, text, &want, ret, &final, err);
	if (r == -ENOENT && !final)
		r = open_remote(options, text, &want, ret, err);
	if (r < 0)
		image_source_close(ret);
	return r;
}

static void stop(void *arg)
{
	struct image_source *s = arg;

	if (s->is_remote)
		remote_image_stop(&s->remote);
}

void image_source_hold(struct image_source *s)
{
	interrupt_hold(&s->interrupt, stop, s);
}

int image_source_finish(struct image_source *s, struct err *err)
{
	int r = s->is_remote ? remote_image_finish(&s->remote, err) : 0;

	return r == 0 ? check_interrupt(s, err) : r;
}

void image_source_close(struct image_source *s)
{
	interrupt_end(&s->interrupt);
	if (s->is_remote)
		remote_image_close(&s->remote);
	s->is_remote = false;
	image_close(&s->image);
	s->store = store_close(s->store);
}
