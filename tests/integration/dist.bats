# dist on a root directory: every command, its output to the letter, its exit status.

load ../lib/mount

HELLO=sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
ABSENT=sha256:00000000000000000000000000000000000000000000000000000000000000aa

setup() {
	common_setup
	cd "$T" || return 1
	ROOT=$T/.content
	BLOBS=$ROOT/blobs/sha256
	unset CONTAINERD_DIST_CONTENT_STORE CONTAINERD_FETCH_TIMEOUT
}

# prints STATUS STDOUT STDERR COMMAND...: to the letter; a stderr of "*" may be anything
prints() {
	local want_status=$1 want_out=$2 want_err=$3 status=0
	shift 3
	"$@" >out 2>err </dev/null || status=$?
	[ "$status" -eq "$want_status" ] || { echo "exit status $status: $*"; cat err; return 1; }
	[ "$(cat out)" = "$want_out" ] || { echo "stdout:"; cat -A out; return 1; }
	[ "$want_err" = '*' ] || [ "$(cat err)" = "$want_err" ] || { echo "stderr:"; cat -A err; return 1; }
}

# Ages are "Less than a second" from here on, however slow the machine is.
freeze() {
	find "$ROOT/blobs" "$ROOT/ingest" -type f ! -name lock -exec touch -d tomorrow {} +
}

# begin_ingest REF [BYTES]: an ingest under way, by $WRITER, that has so many bytes; >&$w ends it
begin_ingest() {
	mkfifo "$T/pipe.$1"
	dist ingest "$1" <"$T/pipe.$1" 3>&- &
	WRITER=$!
	track_pid $WRITER
	exec {w}>"$T/pipe.$1"
	head -c "${2:-10}" /dev/zero >&"$w"
	poll_until 30 bash -c "dist active --json | jq -e '.[] | select(.ref == \"$1\" and .size == ${2:-10})' >/dev/null"
}

@test "ingest prints nothing and makes the blob; list and path show it" {
	printf hello >h
	prints 0 '' '' bash -c 'dist ingest myref <h'
	freeze
	prints 0 "$HELLO" '' dist list -q
	prints 0 $'DIGEST\t\t\t\t\t\t\t\t\tSIZE\tAGE\n'"$HELLO"$'\t5 B\tLess than a second' '' dist list
	prints 0 "$HELLO $BLOBS/${HELLO#*:}" '' dist path $HELLO
	prints 0 "$BLOBS/${HELLO#*:}" '' dist path -q $HELLO
	[ "$(cat "$(dist path -q $HELLO)")" = hello ]
	[ "$(stat -c '%a %h' "$BLOBS/${HELLO#*:}")" = "444 1" ]
	[ -z "$(ls -A "$ROOT/ingest")" ]
}

@test "a present digest is success, and standard input is not read" {
	printf hello >h
	dist ingest --expected-digest $HELLO <h
	# Reading would wait for ever: nobody writes to the fifo, and this holds it open.
	mkfifo pipe
	exec {p}<>pipe
	prints 0 '' "content with digest $HELLO already exists" \
		timeout 20 bash -c "dist ingest --expected-digest $HELLO some/key@$HELLO <&$p"
	exec {p}>&-
	# A writer upstream is cut short, and not waited for.
	run bash -c "set -o pipefail; yes | dist ingest --expected-digest $HELLO"
	[ "$status" -eq 141 ]
}

@test "wrong sizes and digests fail with the reference's words, and nothing is named" {
	printf hello >h
	wrong=sha256:$(printf %064d 1)
	prints 1 '' "unexpected digest: $HELLO != $wrong" \
		bash -c "dist ingest --expected-digest $wrong key <h"
	prints 1 '' 'failed size verification: 5 != 7' bash -c 'dist ingest --expected-size 7 long <h'
	prints 1 '' 'failed size verification: 5 != 3' bash -c 'dist ingest --expected-size 3 short <h'
	prints 0 '' '' dist list -q
	# Size 0 is unknown; the failed ones stand in nobody's way.
	dist ingest --expected-size 5 --expected-digest $HELLO key <h
	dist ingest --expected-size 0 long <h
	dist ingest short <h
	prints 0 "$HELLO" '' dist list -q
	prints 0 $'REF\tSIZE\tAGE' '' dist active
}

@test "what is wrong on the command line is said in a line, and makes no store" {
	prints 1 '' 'dist: must specify a transaction reference or expected digest' dist ingest
	prints 1 '' '*' dist ingest --expected-digest nonsense k
	grep -q 'invalid digest' err
	prints 1 '' '*' dist ingest --expected-digest sha256:12 k
	grep -q 'invalid digest length' err
	prints 1 '' '*' dist ingest --expected-digest md5:d41d8cd98f00b204e9800998ecf8427e k
	grep -q 'unsupported digest algorithm' err
	prints 1 '' '*' dist ingest --expected-size many k
	prints 1 '' '*' dist ingest --timeout soon k
	prints 1 '' '*' dist ingest one two
	prints 1 '' 'dist: please specify a blob digest' dist path
	prints 1 '' '*' dist list --nonsense
	prints 1 '' '*' dist --nonsense
	prints 3 '' "No help topic for 'nonsense'" dist nonsense
	prints 3 '' "No help topic for 'nonsense'" dist help nonsense
	[ ! -e "$ROOT" ]
}

@test "help and version go to standard output and succeed" {
	dist >out
	dist --help | cmp - out
	dist help | cmp - out
	dist h | cmp - out
	for c in ingest active path delete list verify abort clean; do
		grep -q "^  $c" out
		dist "$c" --help | grep -q "^usage: dist $c"
		dist help "$c" | grep -q "^usage: dist $c"
	done
	# Every summary begins in one column, also where the names are many or it takes two lines.
	awk '/^  delete/ {at = index($0, "Remove blobs")}
		/^$/ {on = 0}
		on {lines[n++] = $0}
		/^Commands:/ {on = 1}
		END {
			for (i in lines)
				if (substr(lines[i], at - 1, 1) != " " || substr(lines[i], at, 1) == " ")
					bad = 1
			exit bad || n == 0 || at == 0
		}' out
	dist --version | grep -qE '^dist version [0-9]+\.[0-9]+\.[0-9]+$'
}

@test "a mistyped root is a line on stderr and is not created" {
	for c in 'list' 'ls -q' 'active' 'verify' "path $HELLO" "delete $HELLO" 'abort x' 'clean' \
		'clean --dry-run' 'list --json'; do
		# shellcheck disable=SC2086
		prints 1 '' 'dist: no content store at "typo/root"' \
			dist ${c%% *} --root typo/root $(expr "$c" : '[^ ]* *\(.*\)')
	done
	[ ! -e typo ]
	mkdir home
	echo mine >home/file
	prints 1 '' '*' dist ingest --root home k
	prints 1 '' '*' dist list --root home
	[ "$(ls -A home)" = file ]
	prints 1 '' '*' dist list --root home/file
}

@test "the root is .content, the environment's, or the option's" {
	printf hello >h
	dist ingest k <h
	[ -d .content/blobs ]
	CONTAINERD_DIST_CONTENT_STORE=env/deep dist ingest k <h
	[ -d env/deep/blobs ]
	CONTAINERD_DIST_CONTENT_STORE=env/deep dist ingest --root opt k <h
	[ -d opt/blobs ]
	dist ingest -p path k <h
	dist ingest --path path2 k <h
	[ -d path/blobs ] && [ -d path2/blobs ]
	[ "$(stat -c %a env/deep)" = 755 ]
	prints 0 "$HELLO" '' env CONTAINERD_DIST_CONTENT_STORE=env/deep dist ls -q
	prints 0 "$T/opt/blobs/sha256/${HELLO#*:}" '' dist path -q --root opt $HELLO
}

@test "active shows what is on its way, in the reference's columns and in wide ones" {
	printf hello >h
	dist ingest first <h
	prints 0 $'REF\tSIZE\tAGE' '' dist active
	begin_ingest slow 1500000
	freeze
	prints 0 $'REF\tSIZE\tAGE\nslow\t1.5 MB\tLess than a second' '' dist active
	prints 0 $'REF\tSIZE\tTOTAL\tAGE\t\t\tSTATE\nslow\t1.5 MB\t-\tLess than a second\twriting' '' \
		dist active --wide
	dist active --json | jq -e '.[0] | .ref == "slow" and .size == 1500000 and .state == "writing"'
	prints 0 $'REF\tSIZE\tAGE\nslow\t1.5 MB\tLess than a second' '' dist active -t 5s ignored
	# The same ref again: who has it, and since when.
	prints 1 '' '*' dist ingest slow
	grep -qE "being written by pid $WRITER since [0-9-]+T[0-9:]+Z" err
	exec {w}>&-
	wait_for "$WRITER"
	prints 0 $'REF\tSIZE\tAGE' '' dist active
	[ "$(dist list -q | wc -l)" -eq 2 ]
}

@test "long refs push the columns by whole tabs" {
	# The reference's own row: docker.io/library/redis@sha256:slow
	ref=docker.io/library/redis@sha256:slow
	run dist ingest --expected-size 5 $ref </dev/null
	[ "$status" -eq 1 ]
	freeze
	prints 0 $'REF\t\t\t\t\tSIZE\tAGE\n'"$ref"$'\t0 B\tLess than a second' '' dist active
}

@test "an interrupted ingest keeps its bytes, is resumed or started over" {
	begin_ingest x 4096
	kill -INT "$WRITER" || :
	kill -TERM "$WRITER"
	status=0
	wait_for "$WRITER" || status=$?
	[ "$status" -ge 128 ]
	exec {w}>&-
	dist active --json | jq -e '.[0].size == 4096 and .[0].state == "idle"'
	head -c 5000 /dev/zero >zeros
	tail -c +4097 zeros | dist ingest --resume x
	[ "$(dist list -q)" = "sha256:$(sha_of zeros)" ]
	begin_ingest y 100
	kill -9 "$WRITER"
	wait_for "$WRITER" || :
	exec {w}>&-
	printf hello | dist ingest y
	dist list -q | grep -q $HELLO
	[ -z "$(ls -A "$ROOT/ingest")" ]
}

@test "a timeout ends an ingest that has no more input" {
	mkfifo pipe
	exec {p}<>pipe
	prints 1 '' '*' timeout 20 bash -c "dist ingest --timeout 200ms x <&$p"
	grep -q 'timed out' err
	prints 1 '' '*' timeout 20 env CONTAINERD_FETCH_TIMEOUT=100ms bash -c "dist ingest x <&$p"
	grep -q 'timed out' err
	exec {p}>&-
}

@test "--wait outlasts another writer of the key" {
	begin_ingest x 10
	printf hello >h
	dist ingest --wait 30s x <h 3>&- {w}>&- &
	waiter=$!
	track_pid $waiter
	fails dist ingest --wait 50ms x <h
	exec {w}>&-
	wait_for "$WRITER"
	wait_for $waiter
	dist list -q | grep -q $HELLO
}

@test "delete prints each digest, there or not; without arguments it is silent" {
	printf hello | dist ingest a
	printf other | dist ingest b
	other=sha256:$(printf other | sha256sum | cut -d' ' -f1)
	prints 0 '' '' dist delete
	prints 1 $HELLO$'\n'$ABSENT '*' dist delete $HELLO nonsense $ABSENT
	[ "$(wc -l <err)" -eq 1 ]
	prints 0 "$other" '' dist del "$other"
	prints 0 '' '' dist list -q
	prints 0 '' '' bash -c 'dist list -q | xargs dist delete'
	prints 0 "$other" '' dist rm "$other"
}

@test "list | xargs delete empties a store" {
	for i in 1 2 3 4 5; do echo $i | dist ingest r$i; done
	[ "$(dist list -q | xargs dist delete | wc -l)" -eq 5 ]
	prints 0 '' '' dist list -q
}

@test "path of what is missing fails at the end, with the others told" {
	printf hello | dist ingest a
	prints 1 "$HELLO $BLOBS/${HELLO#*:}" '*' dist path $ABSENT $HELLO nonsense
	grep -q 'blob not found' err
	[ "$(wc -l <err)" -eq 2 ]
	dist path --json $HELLO | jq -e ".[0].path == \"$BLOBS/${HELLO#*:}\" and .[0].size == 5"
}

@test "list takes prefixes, JSON, and leaves stray names out" {
	for i in 1 2 3; do echo $i | dist ingest r$i; done
	: >"$BLOBS/nothex"
	mkdir "$BLOBS/$(printf %064d 3)"
	: >"$BLOBS/$(printf %063d 3)"
	mkdir "$ROOT/blobs/sha512"
	prints 0 "$(for i in 1 2 3; do echo "sha256:$(echo $i | sha256sum | cut -d' ' -f1)"; done | sort)" \
		'*' dist list -q
	[ "$(grep -c 'is no blob' err)" -eq 3 ]
	one=$(echo 1 | sha256sum | cut -d' ' -f1)
	[ "$(dist list -q "${one:0:5}" 2>/dev/null)" = "sha256:$one" ]
	[ "$(dist list -q "sha256:${one:0:5}" 2>/dev/null)" = "sha256:$one" ]
	prints 0 '' '*' dist list -q sha256:zz
	dist list --json 2>/dev/null | jq -e 'length == 3 and all(.[]; .size == 2)'
	mkdir empty empty/blobs
	prints 0 '' '' dist list -q --root empty
	prints 0 '[]' '' dist list --json --root empty
	prints 0 $'DIGEST\tSIZE\tAGE' '' dist list --root empty
	[ "$(ls empty)" = blobs ]
}

@test "verify finds what is damaged, and sets it aside when asked" {
	printf hello | dist ingest a
	printf other | dist ingest b
	prints 0 '' '' dist verify
	prints 0 '' '' dist verify $HELLO
	chmod 644 "$BLOBS/${HELLO#*:}"
	printf HELLO >"$BLOBS/${HELLO#*:}"
	got=sha256:$(printf HELLO | sha256sum | cut -d' ' -f1)
	prints 1 "$HELLO damaged: its 5 bytes hash to $got" '' dist verify
	prints 1 "$ABSENT blob not found" '' dist verify $ABSENT
	prints 1 '' '*' dist verify nonsense
	dist verify --json >v.json || :
	jq -e ".checked == 2 and .damaged[0].digest == \"$HELLO\" and .damaged[0].actual == \"$got\"" v.json
	prints 1 "$HELLO damaged: its 5 bytes hash to $got, moved to quarantine" '' \
		dist verify --quarantine
	[ "$(cat "$ROOT/quarantine/sha256/${HELLO#*:}")" = HELLO ]
	prints 0 '' '' dist verify
	[ "$(dist list -q | wc -l)" -eq 1 ]
	# It can be taken in again, and damaged again.
	printf hello | dist ingest a
	chmod 644 "$BLOBS/${HELLO#*:}"
	printf x >"$BLOBS/${HELLO#*:}"
	fails dist verify --quarantine
	[ "$(cat "$ROOT/quarantine/sha256/${HELLO#*:}.1")" = x ]
}

@test "abort forgets refs that nobody writes" {
	begin_ingest busy 10
	for r in a/b c; do fails dist ingest --expected-size 9 "$r" </dev/null; done
	prints 1 '' 'dist: please specify a ref' dist abort
	prints 1 '' '*' dist abort a/b unknown busy c
	grep -q '"unknown" is unknown' err
	grep -q "being written by pid $WRITER" err
	[ "$(dist active --json | jq -r '.[].ref')" = busy ]
	exec {w}>&-
	wait_for "$WRITER"
}

@test "clean forgets what was left alone for long, and no more" {
	begin_ingest busy 10
	for r in old young; do fails dist ingest --expected-size 9 $r </dev/null; done
	age() { # REF SECONDS: that long ago
		local d
		d=$ROOT/ingest/$(printf %s "$1" | sha256sum | cut -d' ' -f1)
		date -u -d "-$2 seconds" +%Y-%m-%dT%H:%M:%SZ >"$d/updatedat"
		touch -d "-$2 seconds" "$d/data"
	}
	age old 100000
	age busy 100000
	prints 1 '' '*' dist clean --older-than soon
	prints 1 '' '*' dist clean stray-argument
	prints 0 old '*' dist clean --dry-run
	[ "$(dist active --json | jq length)" -eq 3 ]
	prints 0 '' '*' dist clean --older-than 2d
	prints 0 old '*' dist clean
	[ "$(dist active --json | jq -r '.[].ref' | sort | xargs)" = 'busy young' ]
	prints 0 young '*' dist clean --older-than 0
	exec {w}>&-
	wait_for "$WRITER"
	[ -z "$(ls -A "$ROOT/ingest")" ]
}

@test "a progress bar is drawn on a terminal, and nowhere else" {
	head -c 3000000 /dev/urandom >data
	slowly='(head -c 1000000 data; read -t 0.3 <> <(:); head -c 1000000 data; read -t 0.3 <> <(:); head -c 1000000 data)'
	bash -c "$slowly | dist ingest plain" >out 2>err
	[ ! -s out ] && [ ! -s err ]
	script -qec "bash -c '$slowly | dist ingest --expected-size 3000000 bar'" /dev/null >tty </dev/null
	grep -aq 'bar' tty
	grep -aqE '[0-9]+%' tty
	grep -aq $'\033\[K' tty
}

@test "ten writers of one digest, and of one ref, leave one blob and no remains" {
	random_file data 3000000
	pids=()
	for i in $(seq 10); do
		dist ingest --expected-digest "sha256:$(sha_of data)" "ref$i" <data 3>&- 2>/dev/null &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p"; done
	[ "$(dist list -q)" = "sha256:$(sha_of data)" ]
	[ -z "$(ls -A "$ROOT/ingest")" ]
	dist verify
	dist delete "$(dist list -q)"
	pids=()
	for i in $(seq 10); do
		dist ingest --wait 60s one/ref <data 3>&- &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p"; done
	[ "$(dist list -q)" = "sha256:$(sha_of data)" ]
	[ -z "$(ls -A "$ROOT/ingest")" ]
	dist verify
}

@test "the daemon and dist take in the same digests at the same time" {
	require_root
	require_fuse
	mount_fs
	random_file data 2000000
	pids=()
	for i in $(seq 8); do
		cp data "$MNT/ingest/by-mount$i" 3>&- &
		pids+=($!)
		dist ingest "by-dist$i" <data 3>&- &
		pids+=($!)
		echo "content $i" >"c$i"
		dist ingest "other$i" <"c$i" 3>&- &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p"; done
	[ "$(dist list -q | wc -l)" -eq 9 ]
	[ "$(dist list -q)" = "$(ls "$MNT/blobs/sha256" | sed 's/^/sha256:/')" ]
	dist verify
	dist list -q | xargs dist delete >/dev/null
	poll_until 10 bash -c "[ -z \"\$(ls '$MNT/blobs/sha256')\" ]"
	unmount_fs
	[ -z "$(ls -A "$ROOT/ingest")" ]
}

@test "the report's pipeline: jq, xargs and ten ingests at once" {
	seq 20 >numbers
	jq -R '{digest: ., size: 1}' numbers >/dev/null
	while read -r n; do
		echo "layer $n" >"layer$n"
		echo "dist ingest --expected-digest sha256:$(sha_of "layer$n")" \
			"--expected-size $(stat -c %s "layer$n") docker.io/library/redis@sha256:$(sha_of "layer$n") <layer$n"
	done <numbers >commands
	xargs -I{} -P10 -n1 sh -c '{}' <commands
	[ "$(dist list -q | wc -l)" -eq 20 ]
	xargs -I{} -P10 -n1 sh -c '{}' <commands 2>err
	[ "$(grep -c 'already exists' err)" -eq 20 ]
	sh -c "cat < \$(dist path -q sha256:$(sha_of layer7))" | cmp - layer7
}

@test "standard output that is full is a failure" {
	printf hello | dist ingest a
	fails bash -c 'dist list >/dev/full'
	fails bash -c 'dist list -q >/dev/full'
	fails bash -c 'dist active >/dev/full'
}

@test "refs of any bytes go in and come out on one line each" {
	for ref in "with space" $'new\nline' $'\033[2J' $'\xff\xfe' 'back\slash' 'ü☃'; do
		fails dist ingest --expected-size 9 "$ref" </dev/null
	done
	[ "$(dist active | wc -l)" -eq 7 ]
	dist active >out
	grep -qF 'new\x0aline' out
	grep -qF '\x1b[2J' out
	grep -qF '\xff\xfe' out
	grep -qF 'back\\slash' out
	grep -qF 'ü☃' out
	dist active --json | jq -e 'any(.[]; .ref == "new\nline")'
	dist active --json | jq -e 'any(.[]; .ref_hex == "fffe")'
	dist abort $'new\nline' $'\xff\xfe'
	[ "$(dist active | wc -l)" -eq 5 ]
	fails dist ingest "$(printf 'x%.0s' $(seq 4097))" </dev/null
	fails dist ingest '' </dev/null
}
