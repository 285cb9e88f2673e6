#include "dist/dist.h"

static const struct cli_command commands[] = {
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
