#include "dist/dist.h"
#include "dist/remote.h"

#define OPT_ROOT                                                                            \
	"  --root DIR               the store (default $CONTAINERD_DIST_CONTENT_STORE, or " \
	".content)\n"
#define OPT_PLATFORM "  --platform OS/ARCH       of an index take that (default: this machine's)\n"
#define OPT_NO_FETCH "  --no-fetch               fail when the store lacks a part of the image\n"
#define OPT_UNPACK                                                                \
	"  --rootless               without privilege: no devices, our own ids\n" \
	"  --max-size SIZE          fail when more than that is unpacked\n"
#define OPT_JSON "  --json                   print JSON\n"

static const struct cli_command commands[] = {
	{
		.name = "fetch",
		.args = "[options] REMOTE OBJECT [HINT...]",
		.summary = "Write an object of a registry to standard output: OBJECT, a tag or "
			   "digest,\nof the repository REMOTE.",
		.options = REMOTE_HELP
		"\n"
		"A digest is verified: when the bytes do not match it, the last of them are not\n"
		"written and the exit status is 1. Of the HINTs, mediatype:TYPE is what is asked\n"
		"for; others are passed over.\n",
		.run = cmd_fetch,
	},
	{
		.name = "ingest",
		.args = "[options] [KEY]",
		.summary = "Take standard input into the store, verified, under the ref KEY.",
		.options = OPT_ROOT
		"  -p, --path DIR           the same\n"
		"  --expected-size N        fail unless there are N bytes\n"
		"  --expected-digest D      fail unless they hash to D; stdin is not read when D "
		"is\n"
		"                           in the store already; stands for KEY when that is left "
		"out\n"
		"  --resume                 stdin continues what an earlier ingest left\n"
		"  --wait DURATION          wait that long for a KEY that somebody else is "
		"writing\n"
		"  --timeout DURATION       give up after that (default "
		"$CONTAINERD_FETCH_TIMEOUT)\n",
		.run = cmd_ingest,
	},
	{
		.name = "active",
		.args = "[options]",
		.summary = "List what is on its way into the store.",
		.options = OPT_ROOT "  --wide                   REF SIZE TOTAL AGE STATE\n" OPT_JSON
				    "  -t, --timeout DURATION   accepted and ignored\n",
		.run = cmd_active,
	},
	{
		.name = "path",
		.args = "[options] DIGEST...",
		.summary = "Print where blobs lie on the disk.",
		.options = OPT_ROOT "  -q, --quiet              print the path alone\n" OPT_JSON,
		.run = cmd_path,
	},
	{
		.name = "delete",
		.aliases = "del,remove,rm",
		.args = "[options] DIGEST...",
		.summary = "Remove blobs, print the digest of each.",
		.options = OPT_ROOT,
		.run = cmd_delete,
	},
	{
		.name = "list",
		.aliases = "ls",
		.args = "[options] [PREFIX...]",
		.summary =
			"List the blobs of the store, or those whose digest begins with a PREFIX.",
		.options = OPT_ROOT "  -q, --quiet              print the digest alone\n"
				    "  --pinned                 those that are pinned\n" OPT_JSON,
		.run = cmd_list,
	},
	{
		.name = "images",
		.args = "[options]",
		.summary = "List the images that have a name in the store.",
		.options = OPT_ROOT "  -q, --quiet              print the name alone\n" OPT_JSON,
		.run = cmd_images,
	},
	{
		.name = "tag",
		.args = "[options] IMAGE|DIGEST NAME",
		.summary = "Let NAME stand for an image of the store, print it in full.",
		.options = OPT_ROOT,
		.run = cmd_tag,
	},
	{
		.name = "untag",
		.args = "[options] NAME...",
		.summary = "Forget names; the blobs stay.",
		.options = OPT_ROOT,
		.run = cmd_untag,
	},
	{
		.name = "inspect",
		.args = "[options] IMAGE|DIGEST",
		.summary = "Tell what an image of the store is made of, and what it runs.",
		.options = OPT_ROOT OPT_PLATFORM OPT_JSON,
		.run = cmd_inspect,
	},
	{
		.name = "unpack",
		.args = "[options] IMAGE|DIGEST DIR",
		.summary = "Unpack all layers of an image into DIR, print the ChainID of each.",
		.options = OPT_ROOT OPT_PLATFORM OPT_UNPACK OPT_JSON OPT_NO_FETCH REMOTE_HELP
		"\n"
		"What the store lacks is fetched into it, and unpacked while it arrives.\n",
		.run = cmd_unpack,
	},
	{
		.name = "bundle",
		.args = "[options] IMAGE|DIGEST DIR [ARG...]",
		.summary =
			"Make DIR a bundle that runc runs: the image unpacked, and a config.json.",
		.options = OPT_ROOT OPT_PLATFORM OPT_UNPACK
		"  -t, --tty                the process has a terminal\n" OPT_NO_FETCH REMOTE_HELP
		"\n"
		"What the store lacks is fetched into it, and unpacked while it arrives.\n"
		"ARGs stand for the image's own command, behind its entrypoint.\n",
		.run = cmd_bundle,
	},
	{
		.name = "verify",
		.args = "[options] [DIGEST...]",
		.summary =
			"Hash blobs again as they lie on the disk, print those that are damaged.",
		.options = OPT_ROOT
		"  --quarantine             move damaged ones to DIR/quarantine/sha256\n" OPT_JSON,
		.run = cmd_verify,
	},
	{
		.name = "abort",
		.args = "[options] REF...",
		.summary = "Forget ingests that nobody is writing, with their bytes.",
		.options = OPT_ROOT,
		.run = cmd_abort,
	},
	{
		.name = "clean",
		.args = "[options]",
		.summary = "Forget every ingest that has been left alone for long.",
		.options = OPT_ROOT
		"  --older-than AGE         for that long, e.g. 90m, 12h, 7d (default 24h)\n"
		"  --dry-run                only print what would go\n",
		.run = cmd_clean,
	},
	{
		.name = "pin",
		.args = "[options] IMAGE|DIGEST...",
		.summary =
			"Keep blobs, or images with all that they are made of, from being evicted.",
		.options = OPT_ROOT,
		.run = cmd_pin,
	},
	{
		.name = "unpin",
		.args = "[options] IMAGE|DIGEST...",
		.summary =
			"Let go what was pinned, but for what others that are pinned are made of.",
		.options = OPT_ROOT,
		.run = cmd_unpin,
	},
	{
		.name = "evict",
		.args = "[options] --to SIZE",
		.summary = "Remove what can be fetched again, least recently used first.",
		.options = OPT_ROOT
		"  --to SIZE                until there is no more than that of it\n"
		"  --grace DURATION         but nothing used in the last DURATION (default 5m)\n"
		"  --dry-run                only print what would go\n",
		.run = cmd_evict,
	},
	{
		.name = "apply",
		.args = "[options] DIR [FILE|DIGEST...]",
		.summary = "Unpack layers, or the one on standard input, onto the directory DIR.",
		.options = OPT_ROOT
		"  --print-diff-id          print the digest of each unpacked layer\n"
		"  --expected-diff-id D     fail unless that is D; once for each layer\n"
		"  --rootless               leave out devices, owners and attributes that need "
		"root\n"
		"  --max-size SIZE          fail when a layer unpacks to more\n"
		"  --max-window SIZE        memory that zstd or xz may ask for (default 32MiB)\n",
		.run = cmd_apply,
	},
	{
		.name = "resolve",
		.args = "[options] NAME",
		.summary = "Print digest, media type and size of what an image name stands for.",
		.options =
			REMOTE_HELP "  -q, --quiet              print the digest alone\n" OPT_JSON,
		.run = cmd_resolve,
	},
	{
		.name = "pull",
		.args = "[options] NAME [TAG|DIGEST]",
		.summary = "Take an image from its registry into the store, print its digest.",
		.options = OPT_ROOT
		"  --platform OS/ARCH       of an image for several (default: this machine's)\n"
		"  --all-platforms          all of them\n"
		"  --parallel N             layers at once (default 4)\n" OPT_JSON REMOTE_HELP,
		.run = cmd_pull,
	},
	{
		.name = "push",
		.args = "[options] IMAGE|DIGEST NAME",
		.summary =
			"Bring an image of the store, or a blob, to the registry that NAME says.",
		.options = OPT_ROOT
		"  --platform OS/ARCH       of an image for several only that one\n"
		"  --parallel N             layers at once (default 4)\n" OPT_JSON
			REMOTE_LOGIN_HELP,
		.run = cmd_push,
	},
	{
		.name = "login",
		.args = "[options] [HOST]",
		.summary = "Enter a user and password for a registry (default docker.io), once it "
			   "has taken them.",
		.options =
			"  -u, --username USER      asked for when it is left out\n"
			"  --password-stdin         read the password from standard input, as is\n"
			"                           done when that is no terminal\n"
			"  --no-verify              do not ask the registry\n"
			"  --auth-file FILE         where to keep it, as docker does (default\n"
			"                           $REGISTRY_AUTH_FILE, else docker's own "
			"config.json)\n"
			"  --hosts-dir DIRS         of hosts.toml\n"
			"  --timeout DURATION       give up after that\n",
		.run = cmd_login,
	},
	{
		.name = "logout",
		.args = "[options] [HOST]",
		.summary = "Take the user and password for a registry out again.",
		.options = "  --auth-file FILE         where they are kept\n",
		.run = cmd_logout,
	},
	{0},
};

int main(int argc, char **argv)
{
	static const struct cli_program program = {
		.name = "dist",
		.summary = "Move content between registries, a content store and directories.",
		.commands = commands,
	};

	return cli_main(&program, argc, argv);
}
