#include <string.h>

#include "shimctl/shimctl.h"

#define LAUNCH_HELP                                                                           \
	"  --stdin PATH       fifos of the process, made where they are not there;\n"         \
	"  --stdout PATH      without them and without --attach it has /dev/null\n"           \
	"  --stderr PATH\n"                                                                   \
	"  -t, --tty          give it a terminal\n"                                           \
	"  -a, --attach       join our standard streams to it until its end, and exit with\n" \
	"                     its exit status\n"

static const struct cli_command commands[] = {
	{"create", NULL, "[options] ID", "Create a container from a bundle; it waits for start.",
	 "  --bundle DIR       the OCI bundle (default: here)\n"
	 "  --runtime PATH     the OCI runtime (default: runc)\n" LAUNCH_HELP TARGET_HELP,
	 cmd_create},
	{"start", NULL, "[options]", "Start the created container.", TARGET_HELP, cmd_start},
	{"exec", NULL, "[options] ARG...", "Run one more process in the container.",
	 "  -e, --env K=V      add to its environment (repeat it for more)\n"
	 "  --cwd DIR          its working directory\n"
	 "  -u, --user UID[:GID]\n"
	 "  --no-new-privileges\n" LAUNCH_HELP TARGET_HELP,
	 cmd_exec},
	{"attach", NULL, "[options] [PID]", "Join our standard streams to a process that runs.",
	 TARGET_HELP, cmd_attach},
	{"delete", NULL, "[options] PID",
	 "Delete the container (PID of its init; it is killed if it runs) or forget an exec.",
	 TARGET_HELP, cmd_delete},
	{"kill", NULL, "[options] [PID]", "Send a signal to a process (default: init).",
	 "  -s, --signal SIG   name or number (default: TERM)\n"
	 "  -a, --all          to every process of the container\n" TARGET_HELP,
	 cmd_kill},
	{"pause", NULL, "[options]", "Freeze the container.", TARGET_HELP, cmd_pause},
	{"resume", NULL, "[options]", "Thaw the container.", TARGET_HELP, cmd_resume},
	{"pty", NULL, "[options] PID WIDTH HEIGHT", "Set the size of a process's terminal.",
	 TARGET_HELP, cmd_pty},
	{"closeio", NULL, "[options] [PID]", "End the input of a process.", TARGET_HELP,
	 cmd_closeio},
	{"update", NULL, "options", "Change the limits of the running container.",
	 "  --memory SIZE      -1 takes a limit away; so for all of these\n"
	 "  --memory-reservation SIZE\n"
	 "  --memory-swap SIZE memory and swap together\n"
	 "  --cpu-shares N\n"
	 "  --cpu-quota USEC\n"
	 "  --cpu-period USEC\n"
	 "  --cpuset-cpus LIST\n"
	 "  --cpuset-mems LIST\n"
	 "  --pids-limit N\n" TARGET_HELP,
	 cmd_update},
	{"state", NULL, "[options]", "Print what the shim knows of its container.",
	 "  --table            for people\n"
	 "  --json             all of it (without either: the JSON of January 2017)\n" TARGET_HELP,
	 cmd_state},
	{"ps", NULL, "[options]", "List all processes in the container.", TARGET_HELP, cmd_ps},
	{"stats", NULL, "[options]", "Print what the container uses.",
	 "  --json             as numbers\n" TARGET_HELP, cmd_stats},
	{"events", NULL, "[options]", "Print events as they happen, those of before first.",
	 "  --json             one object a line\n"
	 "  --after N          those behind event number N\n" TARGET_HELP,
	 cmd_events},
	{"wait", NULL, "[options] [PID]",
	 "Wait for the end of a process (default: init) and print its exit status.", TARGET_HELP,
	 cmd_wait},
	{"exit", NULL, "[options]", "End the shim, once its container is deleted.", TARGET_HELP,
	 cmd_exit},
	{"run", NULL, "[options] IMAGE|BUNDLE [ARG...]",
	 "Start a shim, run a container in it attached to us, and clean up.",
	 "  --id ID            (default: a new one)\n"
	 "  -t, --tty          give it a terminal\n"
	 "  --root DIR         the content store of IMAGE (default: as for dist)\n"
	 "  --runtime PATH     the OCI runtime (default: runc)\n"
	 "  --no-pivot         do not use pivot_root\n"
	 "  --shim PATH        the shim (default: contentfs-shim beside this program, or in "
	 "$PATH)\n"
	 "  --dir DIR          the shim's working directory, empty or not there yet\n",
	 cmd_run},
	{0},
};

/* --socket and --dir may stand in front of the command; what is left in argv is for cli_main(). */
static int take_target(int argc, char **argv)
{
	static const char *const names[] = {"--socket", "--dir"};
	const char **values[] = {&target.socket, &target.dir};
	int n = 1, i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		size_t k = 0, len = 0;

		for (; k < 2; k++) {
			len = strlen(names[k]);
			if (strncmp(argv[i], names[k], len) == 0 &&
			    (argv[i][len] == '=' || (argv[i][len] == '\0' && i + 1 < argc)))
				break;
		}
		if (k == 2)
			argv[n++] = argv[i];
		else if (argv[i][len] == '=')
			*values[k] = argv[i] + len + 1;
		else
			*values[k] = argv[++i];
	}
	for (; i < argc; i++)
		argv[n++] = argv[i];
	argv[n] = NULL;
	return n;
}

int main(int argc, char **argv)
{
	static const struct cli_program program = {
		.name = "shimctl",
		.summary = "Control a container through its shim. [--socket PATH | --dir DIR] says "
			   "which.",
		.commands = commands,
	};

	argc = take_target(argc, argv);
	return cli_main(&program, argc, argv);
}
