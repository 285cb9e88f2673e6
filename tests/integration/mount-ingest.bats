# /ingest: what plain tools can write, and when it becomes a blob.

load ../lib/mount

setup() {
	common_setup
	require_root
	require_fuse
	mount_fs
	IN=$MNT/ingest
	BLOBS=$MNT/blobs/sha256
	random_file "$T/data" 1234567
	HEX=$(sha_of "$T/data")
}

# committed HEX: it is there, right, and nothing else is
committed() {
	[ "$(ls "$BLOBS")" = "$1" ]
	[ "$(sha_of "$BLOBS/$1")" = "$1" ]
	[ -z "$(ls -A "$IN")" ]
	[ "$(wc -l <"$MNT/active")" -eq 1 ]
}

# state_of REF: the line of /active that begins with it
state_of() {
	grep -F -- "$1" "$MNT/active"
}

@test "cp commits" {
	cp "$T/data" "$IN/x"
	committed "$HEX"
	unmount_fs
	committed_behind=$(ls "$ROOT/blobs/sha256")
	[ "$committed_behind" = "$HEX" ]
	[ -z "$(ls -A "$ROOT/ingest")" ]
}

@test "cat > commits" {
	cat "$T/data" >"$IN/x"
	committed "$HEX"
	unmount_fs
}

@test "dd commits, also with oflag=append and odd block sizes" {
	dd if="$T/data" of="$IN/x" bs=64k status=none
	committed "$HEX"
	rm -f "$BLOBS/$HEX"
	dd if="$T/data" of="$IN/x" bs=7777 oflag=append conv=notrunc status=none
	committed "$HEX"
	rm -f "$BLOBS/$HEX"
	dd if="$T/data" of="$IN/x" bs=1M conv=fsync status=none
	committed "$HEX"
	unmount_fs
}

@test "an empty file is content" {
	: >"$T/empty"
	cp "$T/empty" "$IN/x"
	committed e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
	unmount_fs
}

@test "tar -cf straight into it commits the archive" {
	mkdir "$T/tree"
	cp "$T/data" "$T/tree/a"
	seq 1000 >"$T/tree/b"
	tar -C "$T" --mtime=@0 -cf "$T/want.tar" tree
	tar -C "$T" --mtime=@0 -cf "$IN/tree.tar" tree
	committed "$(sha_of "$T/want.tar")"
	tar -tf "$BLOBS/$(sha_of "$T/want.tar")" | grep -q tree/b
	unmount_fs
}

@test "curl -o commits a download" {
	/usr/bin/python3 -u -m http.server --bind 127.0.0.1 -d "$T" 0 >"$T/http.out" 2>&1 3>&- &
	track_pid $!
	poll_until 30 grep -q 'port [0-9]' "$T/http.out"
	port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$T/http.out" | head -n1)
	curl -fsS -o "$IN/download" "http://127.0.0.1:$port/data"
	committed "$HEX"
	unmount_fs
}

@test "seek back and overwrite, holes, and truncate commit what a file would hold" {
	/usr/bin/python3 - "$IN/x" "$T/model" <<-'PY'
		import os, random, sys
		random.seed(4)
		fds = [os.open(p, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644) for p in sys.argv[1:3]]
		size = 3 << 20
		def both(f):
		    r = [f(fd) for fd in fds]
		    assert r[0] == r[1], r
		both(lambda fd: os.write(fd, b"head" * 50000))
		both(lambda fd: os.pwrite(fd, b"NEW!", 1234))
		both(lambda fd: os.pwrite(fd, b"tail", size))
		both(lambda fd: os.ftruncate(fd, size - 100000))
		for i in range(300):
		    n, at = random.randrange(1, 60000), random.randrange(size - 100000)
		    chunk = random.randbytes(n)
		    both(lambda fd: os.pwrite(fd, chunk, at))
		both(lambda fd: os.pread(fd, 5000, 1000))
		both(lambda fd: os.ftruncate(fd, size + 5))
		both(lambda fd: os.fstat(fd).st_size)
		for fd in fds:
		    os.close(fd)
	PY
	committed "$(sha_of "$T/model")"
	unmount_fs
}

@test "blocks in random order commit the right digest" {
	/usr/bin/python3 - "$T/data" "$IN/x" <<-'PY'
		import os, random, sys
		data = open(sys.argv[1], "rb").read()
		at = list(range(0, len(data), 4096))
		random.seed(7)
		random.shuffle(at)
		fd = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
		for a in at:
		    os.pwrite(fd, data[a:a + 4096], a)
		os.close(fd)
	PY
	committed "$HEX"
	unmount_fs
}

@test "two writers through one open file: (cat a; cat b) > x is a+b and no stray blob" {
	random_file "$T/b" 54321
	cat "$T/data" "$T/b" >"$T/ab"
	(
		cat "$T/data"
		cat "$T/b"
	) >"$IN/x"
	committed "$(sha_of "$T/ab")"
	rm -f "$BLOBS"/*
	{
		cat "$T/data"
		/bin/true
		cat "$T/b"
	} >"$IN/x"
	committed "$(sha_of "$T/ab")"
	rm -f "$BLOBS"/*
	bash -c '(cat "$0/data" & wait; bash -c "exec cat \"$0/b\"" "$0") > "$1"' "$T" "$IN/x"
	committed "$(sha_of "$T/ab")"
	unmount_fs
}

@test "after cp the blob is in the very next ls, many times" {
	mkdir "$T/many"
	for i in $(seq 400); do echo "content $i" >"$T/many/$i"; done
	(cd "$T/many" && sha256sum -- *) >"$T/sums"
	while read -r hex i; do
		cp "$T/many/$i" "$IN/r$i"
		ls "$BLOBS" | grep -q "$hex"
		[ -e "$BLOBS/$hex" ]
		[ ! -e "$IN/r$i" ]
	done <"$T/sums"
	[ "$(ls "$BLOBS" | wc -l)" -eq 400 ]
	unmount_fs
	check_store
}

@test "the expected digest by the name: right commits, wrong makes cp fail" {
	cp "$T/data" "$IN/library%2Fredis@sha256:$HEX"
	committed "$HEX"
	rm -f "$BLOBS/$HEX"
	cp "$T/data" "$IN/sha256:$HEX"
	committed "$HEX"
	rm -f "$BLOBS/$HEX"

	bad=$(printf %064d 1)
	fails cp "$T/data" "$IN/x@sha256:$bad"
	[[ $output == *"close"* ]]
	[ -z "$(ls "$BLOBS")" ]
	state_of "x@sha256:$bad" | grep -q failed
	getfattr --only-values -n user.error "$IN/x@sha256:$bad" | grep -q "$HEX"
	fails bash -c "cat '$T/data' > '$IN/y@sha256:$bad'"
	[ -z "$(ls "$BLOBS")" ]
	rm "$IN/x@sha256:$bad" "$IN/y@sha256:$bad"
	[ -z "$(ls -A "$IN")" ]
	unmount_fs
	[ -z "$(ls "$ROOT/blobs/sha256")" ]
}

@test "the bytes of a digest mismatch are not resumed from: writing anew succeeds" {
	r=$IN/x@sha256:$HEX
	echo wrong >"$T/wrong"
	fails cp "$T/wrong" "$r"
	[ -z "$(ls "$BLOBS")" ]
	cp "$T/data" "$r"
	committed "$HEX"
	rm -f "$BLOBS/$HEX"
	fails cp "$T/wrong" "$r"
	cat "$T/data" >>"$r"
	committed "$HEX"
	unmount_fs
}

@test "expected digest and size by xattr, before the first close" {
	write() { # REF NAME VALUE: open, setfattr, write, close
		/usr/bin/python3 - "$1" "$2" "$3" "$T/data" <<-'PY'
			import os, sys
			fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
			os.setxattr(fd, sys.argv[2], sys.argv[3].encode())
			os.write(fd, open(sys.argv[4], "rb").read())
			os.close(fd)
		PY
	}
	write "$IN/a" user.expected.digest "sha256:$HEX"
	committed "$HEX"
	rm -f "$BLOBS/$HEX"
	write "$IN/a" user.expected.size 1234567
	committed "$HEX"
	rm -f "$BLOBS/$HEX"
	fails write "$IN/b" user.expected.digest "sha256:$(printf %064d 2)"
	fails write "$IN/c" user.expected.size 1234566
	fails write "$IN/d" user.expected.size 1234568
	fails write "$IN/e" user.expected.digest nonsense
	[ -z "$(ls "$BLOBS")" ]

	# With setfattr, on an idle ingest that touch has made
	touch "$IN/f"
	setfattr -n user.expected.digest -v "sha256:$HEX" "$IN/f"
	[ "$(getfattr --only-values -n user.expected.digest "$IN/f")" = "sha256:$HEX" ]
	cat "$T/data" >>"$IN/f"
	[ "$(ls "$BLOBS")" = "$HEX" ]
	unmount_fs
}

@test "after a size shortfall the bytes stay and >> resumes" {
	touch "$IN/x"
	setfattr -n user.expected.size -v 1234567 "$IN/x"
	fails bash -c "head -c 400000 '$T/data' >> '$IN/x'"
	[ -z "$(ls "$BLOBS")" ]
	[ "$(stat -c %s "$IN/x")" = 400000 ]
	tail -c +400001 "$T/data" >>"$IN/x"
	committed "$HEX"
	unmount_fs
}

@test "a killed writer leaves a resumable, visible ingest, and >> completes it" {
	mkfifo "$T/pipe"
	cat "$T/pipe" >"$IN/x" 3>&- &
	writer=$!
	track_pid "$writer"
	exec {w}>"$T/pipe"
	head -c 500000 "$T/data" >&$w
	poll_until 30 bash -c "[ \$(stat -c %s '$IN/x') = 500000 ]"
	state_of x | grep -q writing
	kill -9 "$writer"
	wait_for "$writer" || :
	exec {w}>&-
	poll_until 30 bash -c "grep -F x '$MNT/active' | grep -q idle"
	[ -z "$(ls "$BLOBS")" ]
	[ "$(ls "$IN")" = x ]
	[ "$(stat -c %s "$IN/x")" = 500000 ]
	cmp -n 500000 "$ROOT"/ingest/*/data "$T/data"
	unmount_fs
	mount_fs
	[ "$(stat -c %s "$IN/x")" = 500000 ]
	tail -c +500001 "$T/data" >>"$IN/x"
	committed "$HEX"
	unmount_fs
}

@test "the same ref opened for writing twice is EBUSY; other refs go on" {
	exec {a}>"$IN/x"
	echo first >&$a
	fails bash -c "echo second > '$IN/x'"
	[[ $output == *busy* ]]
	fails bash -c "echo second >> '$IN/x'"
	cp "$T/data" "$IN/y"
	[ "$(ls "$BLOBS")" = "$HEX" ]
	exec {a}>&-
	[ "$(ls "$BLOBS" | wc -l)" -eq 2 ]
	echo first | cmp - "$BLOBS/$(echo first | sha256sum | cut -d' ' -f1)"
	unmount_fs
}

@test "several writers on several refs at once" {
	pids=()
	for i in $(seq 8); do
		random_file "$T/part$i" $((200000 + i * 111111))
		(
			exec 3>&-
			cp "$T/part$i" "$IN/par%2Fref$i"
		) &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	for i in $(seq 8); do
		cmp "$T/part$i" "$BLOBS/$(sha_of "$T/part$i")"
	done
	[ "$(ls "$BLOBS" | wc -l)" -eq 8 ]
	unmount_fs
	check_store
}

@test "a digest that is there already succeeds and changes nothing" {
	cp "$T/data" "$IN/x"
	before=$(stat -c '%i %Y' "$ROOT/blobs/sha256/$HEX")
	cp "$T/data" "$IN/y"
	cp "$T/data" "$IN/z@sha256:$HEX"
	committed "$HEX"
	[ "$(stat -c '%i %Y' "$ROOT/blobs/sha256/$HEX")" = "$before" ]
	unmount_fs
}

@test "rm aborts, also under the writer" {
	exec {a}>"$IN/x"
	echo some >&$a
	rm "$IN/x"
	[ ! -e "$IN/x" ]
	run bash -c 'echo more >&'"$a"
	[ "$status" -ne 0 ]
	exec {a}>&- || :
	[ -z "$(ls "$BLOBS")" ]
	[ -z "$(ls -A "$IN")" ]
	poll_until 10 bash -c "[ -z \"\$(ls -A '$ROOT/ingest')\" ]"
	cp "$T/data" "$IN/x"
	committed "$HEX"
	unmount_fs
}

@test "a slash is %2F or a directory, and both are one ref" {
	exec {a}>"$IN/docker.io%2Flibrary%2Fredis"
	echo some >&$a
	state_of docker.io/library/redis
	mkdir -p "$IN/docker.io/library"
	[ -f "$IN/docker.io/library/redis" ]
	fails bash -c "echo other > '$IN/docker.io/library/redis'"
	[[ $output == *busy* ]]
	exec {a}>&-
	rm -f "$BLOBS"/*
	cp "$T/data" "$IN/docker.io/library/other"
	[ "$(ls "$BLOBS")" = "$HEX" ]
	rmdir "$IN/docker.io/library" "$IN/docker.io"
	[ -z "$(ls -A "$IN")" ]
	unmount_fs
}

@test "any bytes of a file name make a ref" {
	names=("with space" $'new\nline' "percent%" "%41" "%2" "sha256:short" "ü—☃" $'\xff\xfe' "-dash"
		'$(quote)"'"'" ".hidden" "a%2F" "%2Fb" "@" "x@sha256:" "$(printf 'n%.0s' $(seq 255))")
	i=0
	for name in "${names[@]}"; do
		i=$((i + 1))
		echo "content $i" >"$T/odd"
		cp "$T/odd" "$IN/$name"
		[ -e "$BLOBS/$(sha_of "$T/odd")" ]
		# An ingest that stays shows under its own name, or can be reached by it.
		head -c 1000 "$T/data" >"$T/half"
		touch "$IN/$name"
		[ -f "$IN/$name" ]
		[ "$(ls -A "$IN" | wc -l)" -ge 1 ]
		rm "$IN/$name"
		[ -z "$(ls -A "$IN")" ]
	done
	unmount_fs
}

@test "refs longer than 255 bytes are named by their hash" {
	long=$(printf 'part/%.0s' $(seq 80))end
	hash=$(printf %s "$long" | sha256sum | cut -d' ' -f1)
	head -c 1000 "$T/data" >"$T/head"
	# dist makes one, without finishing it: a shorter size than announced.
	run dist ingest --root "$ROOT" --expected-size 1234567 "$long" <"$T/head"
	[ "$status" -ne 0 ]
	[ "$(ls "$IN")" = "$hash" ]
	[ "$(stat -c %s "$IN/$hash")" = 1000 ]
	[ "$(getfattr --only-values -n user.ref "$IN/$hash")" = "$long" ]
	tail -c +1001 "$T/data" >>"$IN/$hash"
	committed "$HEX"
	unmount_fs
}

@test "dist and the mount see each other's work on one root" {
	dist ingest --root "$ROOT" some-ref <"$T/data"
	[ "$(ls "$BLOBS")" = "$HEX" ]
	exec {a}>"$IN/mine"
	echo some >&$a
	dist active --root "$ROOT" | grep -q mine
	fails dist ingest --root "$ROOT" mine <"$T/data"
	exec {a}>&-
	[ "$(dist list --root "$ROOT" -q | wc -l)" -eq 2 ]
	dist delete --root "$ROOT" "sha256:$HEX"
	poll_until 10 bash -c "! [ -e '$BLOBS/$HEX' ]"
	unmount_fs
}

@test "rename, links and special files have no place in ingest" {
	touch "$IN/x"
	fails ln "$IN/x" "$IN/y"
	fails ln -s x "$IN/y"
	fails mkfifo "$IN/y"
	fails mv "$IN/x" "$MNT/blobs/sha256/$HEX"
	unmount_fs
}
