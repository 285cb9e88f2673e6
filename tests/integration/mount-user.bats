# The mount of an ordinary user, by fusermount3: the same, with cached reads.

load ../lib/mount

setup() {
	common_setup
	as_ordinary_user
	mount_fs
	IN=$MNT/ingest
	BLOBS=$MNT/blobs/sha256
	random_file "$T/data" 3000001
	chmod 644 "$T/data"
	HEX=$(sha_of "$T/data")
}

@test "what cp puts in, cat, cmp, mmap, sha256sum and ls read, through the page cache" {
	u contentfs --status "$MNT" | grep -E 'reads.*cached'
	u cp "$T/data" "$IN/x@sha256:$HEX"
	[ "$(u ls "$BLOBS")" = "$HEX" ]
	[ "$(u stat -c '%s %a %U' "$BLOBS/$HEX")" = "3000001 444 nobody" ]
	u cmp "$BLOBS/$HEX" "$T/data"
	u cmp "$BLOBS/$HEX" "$T/data"
	[ "$(u sha256sum "$BLOBS/$HEX" | cut -d' ' -f1)" = "$HEX" ]
	u /usr/bin/python3 -c '
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
assert m[:] == open(sys.argv[2], "rb").read()' "$BLOBS/$HEX" "$T/data"
	unmount_fs
}

@test "a wrong digest, a resume and rm are no different" {
	fails u cp "$T/data" "$IN/x@sha256:$(printf %064d 3)"
	[ -z "$(u ls "$BLOBS")" ]
	u rm "$IN/x@sha256:$(printf %064d 3)"
	u touch "$IN/y"
	u setfattr -n user.expected.size -v 3000001 "$IN/y"
	fails u bash -c "head -c 1000000 '$T/data' >> '$IN/y'"
	u bash -c "tail -c +1000001 '$T/data' >> '$IN/y'"
	[ "$(u ls "$BLOBS")" = "$HEX" ]
	u rm -f "$BLOBS/$HEX"
	[ -z "$(u ls "$BLOBS")" ]
	u bash -c "(cat '$T/data'; cat '$T/data') > '$IN/z'"
	[ "$(u ls "$BLOBS")" = "$(cat "$T/data" "$T/data" | sha256sum | cut -d' ' -f1)" ]
	unmount_fs
}

@test "a mount point whose daemon was killed can be mounted on again" {
	u cp "$T/data" "$IN/x"
	kill -9 "$DAEMON"
	wait_for "$DAEMON" || :
	fails u ls "$MNT"
	[[ $output == *"not connected"* ]]
	mount_fs
	u cmp "$BLOBS/$HEX" "$T/data"
	unmount_fs
}

@test "a mount that fusermount3 refuses is one line" {
	fails u "$BIN/contentfs" -o allow_other "$T/root2" "$T/mnt2"
	u mkdir "$T/mnt2"
	fails u "$BIN/contentfs" -o allow_other "$T/root2" "$T/mnt2"
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == *user_allow_other* ]]
	unmount_fs
}

@test "many blobs are listed and read" {
	u mkdir "$T/many"
	u bash -c "for i in \$(seq 200); do echo content \$i > '$T/many/'\$i; done"
	u bash -c "for i in \$(seq 200); do cp '$T/many/'\$i '$IN/'\$i || exit 1; done"
	[ "$(u ls "$BLOBS" | wc -l)" -eq 200 ]
	u bash -c "cd '$BLOBS' && sha256sum * | while read a b; do [ \$a = \$b ] || exit 1; done"
	unmount_fs
}
