/*
 * The commands of dist, one file each (cmd_<name>.c); main.c has the table with their help.
 */
#ifndef DIST_DIST_H
#define DIST_DIST_H

#include "cli/cli.h"

#define DIST_DEFAULT_ROOT ".content"

int cmd_fetch(const struct cli_program *p, int argc, char **argv);
int cmd_ingest(const struct cli_program *p, int argc, char **argv);
int cmd_active(const struct cli_program *p, int argc, char **argv);
int cmd_evict(const struct cli_program *p, int argc, char **argv);
int cmd_pin(const struct cli_program *p, int argc, char **argv);
int cmd_unpin(const struct cli_program *p, int argc, char **argv);
int cmd_list(const struct cli_program *p, int argc, char **argv);
int cmd_path(const struct cli_program *p, int argc, char **argv);
int cmd_delete(const struct cli_program *p, int argc, char **argv);
int cmd_abort(const struct cli_program *p, int argc, char **argv);
int cmd_clean(const struct cli_program *p, int argc, char **argv);
int cmd_apply(const struct cli_program *p, int argc, char **argv);
int cmd_verify(const struct cli_program *p, int argc, char **argv);
int cmd_inspect(const struct cli_program *p, int argc, char **argv);
int cmd_unpack(const struct cli_program *p, int argc, char **argv);
int cmd_bundle(const struct cli_program *p, int argc, char **argv);
int cmd_images(const struct cli_program *p, int argc, char **argv);
int cmd_tag(const struct cli_program *p, int argc, char **argv);
int cmd_untag(const struct cli_program *p, int argc, char **argv);
int cmd_resolve(const struct cli_program *p, int argc, char **argv);
int cmd_push(const struct cli_program *p, int argc, char **argv);
int cmd_pull(const struct cli_program *p, int argc, char **argv);
int cmd_login(const struct cli_program *p, int argc, char **argv);
int cmd_logout(const struct cli_program *p, int argc, char **argv);

#endif
