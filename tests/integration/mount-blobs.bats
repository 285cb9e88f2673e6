# /blobs/sha256: what plain tools see of complete blobs.

load ../lib/mount

setup() {
	common_setup
	require_root
	require_fuse
}

# some_blobs: $SMALL (12 bytes), $EMPTY, $BIG (3 MiB and a bit), by digest
some_blobs() {
	echo "hello world" >"$T/small"
	: >"$T/empty"
	random_file "$T/big" 3145999
	SMALL=$(put_blob "$T/small")
	EMPTY=$(put_blob "$T/empty")
	BIG=$(put_blob "$T/big")
	BLOBS=$MNT/blobs/sha256
}

@test "a fresh root is made, mounted, empty, and unmounted" {
	mount_fs
	[ "$(ls -A "$MNT")" = $'active\nblobs\ningest' ]
	[ -z "$(ls -A "$MNT/blobs/sha256")" ]
	[ -z "$(ls -A "$MNT/ingest")" ]
	[ "$(stat -c %a "$ROOT")" = 755 ]
	unmount_fs
	[ -z "$(ls -A "$MNT")" ]
	[ -d "$ROOT/blobs/sha256" ]
}

@test "the daemon goes to the background when the mount answers, and SIGTERM ends it" {
	MNT=$T/mnt
	mkdir "$MNT"
	track_mount "$MNT"
	contentfs "$T/root" "$MNT" 3>&-
	ls "$MNT/blobs"
	pid=$(pgrep -f "contentfs $T/root ")
	track_pid "$pid"
	kill "$pid"
	timeout 30 tail -s 0.05 --pid="$pid" -f /dev/null
	! mountpoint -q "$MNT"
}

@test "a mount that cannot be is one line and a failed exit status" {
	fails contentfs "$T/root" "$T/absent"
	[ "${#lines[@]}" -eq 1 ]
	: >"$T/file"
	mkdir "$T/mnt"
	fails contentfs "$T/file" "$T/mnt"
	[ "${#lines[@]}" -eq 1 ]
	for o in bogus uid=5 ro,bogus=x ,,; do
		fails contentfs -o "$o" "$T/root" "$T/mnt"
		[ "${#lines[@]}" -eq 1 ]
		[[ $output == *option* ]]
		! mountpoint -q "$T/mnt"
	done
	mkdir "$T/home" && : >"$T/home/precious"
	fails contentfs "$T/home" "$T/mnt"
	[ "$(ls -A "$T/home")" = precious ]
	mount_fs
	fails contentfs "$T/other" "$MNT"
	[ "$output" = "contentfs: mount point $MNT: a store is mounted there already" ]
	[ ! -e "$T/other" ]
	unmount_fs
}

@test "ls, stat, cat, dd, cp, tar, find and sha256sum read blobs" {
	mount_fs
	some_blobs
	[ "$(ls "$BLOBS" | wc -l)" -eq 3 ]
	[ "$(ls -l "$BLOBS/$SMALL" | cut -c1-10)" = "-r--r--r--" ]
	[ "$(stat -c '%s %h %F' "$BLOBS/$BIG")" = "3145999 1 regular file" ]
	[ "$(stat -c %s "$BLOBS/$EMPTY")" = 0 ]
	[ "$(cat "$BLOBS/$SMALL")" = "hello world" ]
	cmp "$BLOBS/$BIG" "$T/big"
	cmp "$BLOBS/$EMPTY" "$T/empty"
	dd if="$BLOBS/$BIG" bs=4k skip=100 count=3 status=none |
		cmp - <(dd if="$T/big" bs=4k skip=100 count=3 status=none)
	cp "$BLOBS/$BIG" "$T/copy"
	cmp "$T/copy" "$T/big"
	mkdir "$T/x"
	tar -C "$MNT" -cf - blobs | tar -C "$T/x" -xf -
	diff -r "$MNT/blobs" "$T/x/blobs"
	[ "$(find "$MNT/blobs" -type f -size +1M)" = "$BLOBS/$BIG" ]
	for hex in "$SMALL" "$EMPTY" "$BIG"; do
		[ "$(sha_of "$BLOBS/$hex")" = "$hex" ]
	done
	unmount_fs
}

@test "mmap, sendfile, pread and lseek read what is there" {
	mount_fs
	some_blobs
	/usr/bin/python3 - "$BLOBS/$BIG" "$T/big" <<-'PY'
		import mmap, os, sys
		want = open(sys.argv[2], "rb").read()
		fd = os.open(sys.argv[1], os.O_RDONLY)
		m = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
		assert m[:] == want, "mmap private"
		s = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
		assert s[-17:] == want[-17:], "mmap shared"
		out = os.memfd_create("copy")
		done = 0
		while done < len(want):
		    n = os.sendfile(out, fd, done, len(want) - done)
		    assert n > 0
		    done += n
		assert os.pread(out, len(want), 0) == want, "sendfile"
		assert os.pread(fd, 100, 1 << 20) == want[1 << 20:(1 << 20) + 100]
		assert os.pread(fd, 100, len(want)) == b""
		assert os.lseek(fd, 0, os.SEEK_END) == len(want)
	PY
	unmount_fs
}

@test "many readers at once see the same bytes" {
	mount_fs
	some_blobs
	pids=()
	for i in 1 2 3 4 5 6 7 8; do
		(
			exec 3>&-
			for j in 1 2 3 4 5; do
				cmp "$BLOBS/$BIG" "$T/big" && cmp "$BLOBS/$SMALL" "$T/small" &&
					ls -l "$BLOBS" >/dev/null || exit 1
			done
		) &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	unmount_fs
}

@test "blobs are never writable, renamed, linked, made or changed" {
	mount_fs
	some_blobs
	b=$BLOBS/$SMALL
	fails bash -c "echo x > '$b'"
	fails bash -c "echo x >> '$b'"
	fails dd if=/dev/zero of="$b" bs=1 count=1 conv=notrunc
	fails truncate -s 3 "$b"
	fails chmod 644 "$b"
	fails chown nobody "$b"
	fails touch -d yesterday "$b"
	fails mv "$b" "$BLOBS/other"
	fails ln "$b" "$BLOBS/other"
	fails ln -s x "$BLOBS/other"
	fails touch "$BLOBS/$(printf %064d 0)"
	fails mkdir "$BLOBS/dir"
	fails mkfifo "$BLOBS/fifo"
	fails setfattr -n user.x -v y "$b"
	[ "$(cat "$b")" = "hello world" ]
	[ "$(stat -c %a "$ROOT/blobs/sha256/$SMALL")" = 444 ]
	[ "$(ls "$BLOBS" | wc -l)" -eq 3 ]
	unmount_fs
}

@test "rm deletes a blob, and who has it open reads on" {
	mount_fs
	some_blobs
	exec {fd}<"$BLOBS/$BIG"
	head -c 1000 <&$fd | cmp - <(head -c 1000 "$T/big")
	rm -f "$BLOBS/$BIG"
	[ ! -e "$BLOBS/$BIG" ]
	[ ! -e "$ROOT/blobs/sha256/$BIG" ]
	[ "$(ls "$BLOBS" | wc -l)" -eq 2 ]
	/usr/bin/python3 -c 'import os, sys; os.lseek(0, 0, 0); sys.stdout.buffer.write(sys.stdin.buffer.read())' \
		<&$fd | cmp - "$T/big"
	exec {fd}<&-
	fails cat "$BLOBS/$BIG"
	fails rm "$BLOBS/$BIG"
	unmount_fs
}

@test "what is no digest is no blob, and a digest nobody has is absent" {
	mount_fs
	some_blobs
	for name in x "${SMALL^^}" "${SMALL}0" "${SMALL%?}" "sha256:$SMALL" .. ; do
		[ "$name" = .. ] || [ ! -e "$BLOBS/$name" ]
	done
	fails cat "$BLOBS/$(printf %064d 7)"
	[[ $output == *"No such file"* ]]
	# Foreign files in the directory are not shown as blobs.
	: >"$ROOT/blobs/sha256/.tmp-foreign"
	[ "$(ls -A "$BLOBS" | wc -l)" -eq 3 ]
	unmount_fs
}

@test "blobs that others add and remove show at once" {
	mount_fs
	some_blobs
	ls -l "$BLOBS" >/dev/null
	echo second >"$T/second"
	hex=$(put_blob "$T/second")
	[ "$(cat "$BLOBS/$hex")" = second ]
	ls "$BLOBS" | grep -q "$hex"
	rm -f "$ROOT/blobs/sha256/$hex"
	poll_until 10 bash -c "! ls '$BLOBS' | grep -q $hex"
	poll_until 10 bash -c "! [ -e '$BLOBS/$hex' ]"
	unmount_fs
}

@test "xattrs tell digest and state, the mount its status" {
	mount_fs
	some_blobs
	[ "$(getfattr --only-values -n user.digest "$BLOBS/$SMALL")" = "sha256:$SMALL" ]
	[ "$(getfattr --only-values -n user.state "$BLOBS/$SMALL")" = complete ]
	run contentfs --status "$MNT"
	[ "$status" -eq 0 ]
	[[ $output == *"$ROOT"* ]]
	[[ $output == *passthrough* || $output == *cached* ]]
	fails contentfs --status "$T"
	[ "${#lines[@]}" -eq 1 ]
	unmount_fs
}

@test "as root with a kernel that can, reads go by passthrough; without, the cache serves the same" {
	require_passthrough
	mount_fs
	some_blobs
	contentfs --status "$MNT" | grep -E 'reads.*passthrough'
	cmp "$BLOBS/$BIG" "$T/big"
	unmount_fs
	mount_fs --no-passthrough
	contentfs --status "$MNT" | grep -E 'reads.*cached'
	cmp "$BLOBS/$BIG" "$T/big"
	[ "$(sha_of "$BLOBS/$SMALL")" = "$SMALL" ]
	unmount_fs
}

@test "mount options are those of other FUSE file systems" {
	MNT=$T/mnt
	for o in ro rw,nosuid,nodev,noexec,noatime allow_other fsname=foo,subtype=bar \
		max_read=65536 default_permissions ''; do
		mount_fs -o "$o" -o sync
		grep -q " $MNT fuse" /proc/self/mounts
		some_blobs
		cmp "$BLOBS/$BIG" "$T/big"
		unmount_fs
	done
	mount_fs -oallow_other,fsname=some-name
	grep "^some-name $MNT fuse.contentfs rw,.*allow_other" /proc/self/mounts
	unmount_fs
}

@test "a mount point that is not empty, or holds the root, or is the root, works and comes back" {
	mkdir "$T/mnt"
	: >"$T/mnt/file"
	mount_fs
	[ ! -e "$MNT/file" ]
	unmount_fs
	[ -e "$MNT/file" ]
	for ROOT in "$T/mnt/root" "$T/mnt"; do
		rm -rf "$T/mnt" && mkdir "$T/mnt"
		mount_fs
		echo some >"$T/some"
		cp "$T/some" "$MNT/ingest/x"
		cmp "$MNT/blobs/sha256/$(sha_of "$T/some")" "$T/some"
		unmount_fs
		[ -f "$ROOT/blobs/sha256/$(sha_of "$T/some")" ]
	done
}

@test "a mount point whose daemon was killed can be mounted on again" {
	mount_fs
	some_blobs
	kill -9 "$DAEMON"
	wait_for "$DAEMON" || :
	fails ls "$MNT"
	[[ $output == *"not connected"* ]]
	mount_fs
	cmp "$BLOBS/$BIG" "$T/big"
	[ "$(grep -c " $MNT " /proc/self/mounts)" -eq 1 ]
	unmount_fs
}

@test "mounted ro nothing can be written or removed" {
	mount_fs
	some_blobs
	unmount_fs
	mount_fs -o ro
	[ "$(cat "$BLOBS/$SMALL")" = "hello world" ]
	fails bash -c "echo x > '$MNT/ingest/r'"
	[[ $output == *"Read-only"* ]]
	fails rm -f "$BLOBS/$SMALL"
	unmount_fs
}

@test "a process that has a blob open or mapped goes on after kill -9 of the daemon" {
	require_passthrough
	mount_fs
	some_blobs
	mkfifo "$T/go"
	/usr/bin/python3 - "$BLOBS/$BIG" "$T/big" "$T/go" <<-'PY' >"$T/reader.out" 2>&1 3>&- &
		import mmap, os, sys
		want = open(sys.argv[2], "rb").read()
		fd = os.open(sys.argv[1], os.O_RDONLY)
		m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
		print("open", flush=True)
		open(sys.argv[3]).read()
		assert m[:] == want
		assert os.pread(fd, len(want), 0) == want
	PY
	reader=$!
	track_pid "$reader"
	poll_until 30 grep -q open "$T/reader.out"
	kill -9 "$DAEMON"
	wait_for "$DAEMON" || :
	echo go >"$T/go"
	wait_for "$reader"
	kill_fs 2>/dev/null || :
	cat "$T/reader.out"
}
