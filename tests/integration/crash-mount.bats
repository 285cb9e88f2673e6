# kill -9 of the daemon, of dist, of writers at random moments.

load ../lib/mount

setup() {
	common_setup
	require_root
	require_fuse
}

@test "after kill -9 no blob is wrong, none acknowledged is missing, every ref goes on or away" {
	track_mount "$T/mnt"
	BIN=$BIN /usr/bin/python3 "$REPO/tests/lib/crash_mount.py" "$T" "${CRASH_INGESTS:-500}"
}
