# A full disk in the middle of an ingest.

load ../lib/mount

setup() {
	common_setup
	require_root
	require_fuse
	mkdir "$T/disk"
	track_mount "$T/disk"
	ROOT=$T/disk/root
	random_file "$T/data" 12000000
	HEX=$(sha_of "$T/data")
}

# full_then_resumed: the disk in $T/disk has room for 12 MB, but not beside the filler
full_then_resumed() {
	head -c 9000000 /dev/zero >"$T/disk/filler"
	mount_fs
	for ref in plain "named@sha256:$HEX"; do
		fails cp "$T/data" "$MNT/ingest/$ref"
		[[ $output == *"No space left"* ]]
		[ -z "$(ls "$MNT/blobs/sha256")" ]
		rm "$MNT/ingest/$ref"
	done
	fails dist ingest --root "$ROOT" by-dist <"$T/data"
	[[ $output == *"No space left"* ]]
	dist abort --root "$ROOT" by-dist

	fails cp "$T/data" "$MNT/ingest/x"
	[ -z "$(ls "$MNT/blobs/sha256")" ]
	[ "$(ls "$MNT/ingest")" = x ]
	have=$(stat -c %s "$MNT/ingest/x")
	[ "$have" -gt 0 ]
	cmp -n "$have" "$ROOT"/ingest/*/data "$T/data"
	rm "$T/disk/filler"
	tail -c +$((have + 1)) "$T/data" >>"$MNT/ingest/x"
	[ "$(ls "$MNT/blobs/sha256")" = "$HEX" ]
	cmp "$MNT/blobs/sha256/$HEX" "$T/data"
	[ -z "$(ls -A "$MNT/ingest")" ]
	unmount_fs
	check_store
}

@test "ENOSPC on tmpfs fails the write, keeps what is there for a resume, makes no blob" {
	mount -t tmpfs -o size=16m disk "$T/disk"
	full_then_resumed
}

@test "ENOSPC on ext4 fails the write or the close, keeps what is there, makes no blob" {
	require_loop
	truncate -s 20M "$T/image"
	mkfs.ext4 -q -m 0 -O ^has_journal "$T/image"
	mount -o loop "$T/image" "$T/disk"
	full_then_resumed
}
