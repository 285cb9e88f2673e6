# The order of a commit, held against power loss: nothing named and wrong, nothing acknowledged
# and missing.

load ../lib/mount

setup() {
	common_setup
	require_root
	require_fuse
	require_loop
	track_mount "$T/disk"
	track_mount "$T/mnt"
}

power_loss() {
	BIN=$BIN TESTBIN=$TESTBIN /usr/bin/python3 "$REPO/tests/lib/power_loss.py" "$T" "$@"
}

@test "dist ingest: the journal is lost at each step" {
	power_loss dist 2 data=ordered
}

@test "dist ingest: the journal is written at each step, the data is not" {
	power_loss dist 1 data=writeback
}

@test "cp into the mount: the journal is lost at each step" {
	power_loss mount 2 data=ordered
}

@test "cp into the mount: the journal is written at each step, the data is not" {
	power_loss mount 1 data=writeback
}
