#!/usr/bin/env bats
# The life of a shim among faults: a runtime that hangs, fails and babbles, clients that do not read,
# kill -9 at any moment. The runtime is tests/lib/fake-runc, so there is no need of root.
#
# shellcheck disable=SC2016 # what is in single quotes is for the shell in the container

load ../lib/common

setup() {
	common_setup
	export FAKE_RUNC=$T/containers
	mkdir "$FAKE_RUNC" "$T/b"
	mkdir -m 700 "$T/d"
	cd "$T" || return 1
	start_shim
}

teardown() {
	local p
	for p in $(cat "$FAKE_RUNC"/*/pids 2>/dev/null); do
		# Only a process that is one of ours: they lead sessions, and have our directory.
		grep -qsz "FAKE_OF=$T\$" "/proc/$p/environ" && kill -9 "$p"
	done
	common_teardown
}

# start_shim [options]: in $T/d, as a child of ours.
start_shim() {
	# Not by its socket: that of a shim that was killed is still there.
	local n=0
	[ ! -e "$T/shim.log" ] || n=$(grep -c 'shim serves' "$T/shim.log" || :)
	(cd "$T/d" && exec contentfs-shim "$@") </dev/null 2>>"$T/shim.log" >&2 3>&- &
	SHIM_PID=$!
	track_pid $SHIM_PID
	serves() {
		[ "$(grep -c 'shim serves' "$T/shim.log")" -gt "$1" ]
	}
	poll_until 60 serves "$n"
}

kill_shim() {
	kill -9 "$SHIM_PID"
	wait "$SHIM_PID" || :
}

ctl() {
	shimctl --dir "$T/d" "$@"
}

# create SHELL_TEXT [options]: a container c1 whose init is sh -c TEXT; $pid.
create() {
	jq -n --arg c "$1" --arg t "FAKE_OF=$T" \
		'{process: {args: ["/bin/sh", "-c", $c], env: ["PATH=/usr/bin:/bin", $t]}}' >b/config.json
	shift
	ctl create --bundle b --runtime "$REPO/tests/lib/fake-runc" "$@" c1 >created || return 1
	pid=$(sed 's/.* pid //' created)
}

running() {
	create "${1:-exec sleep 1000}" && ctl start
}

# exec_in [options] ARG...: $epid
exec_in() {
	ctl exec --env PATH=/usr/bin:/bin --env "FAKE_OF=$T" --cwd / "$@" >execd || return 1
	epid=$(sed 's/.* pid //' execd)
}

fault() {
	echo "$*" >"$FAKE_RUNC/faults"
}

no_fault() {
	rm -f "$FAKE_RUNC/faults"
}

events() {
	timeout 10 "$BIN/shimctl" --dir "$T/d" events --json >events.out &
	local p=$!
	told() {
		[ "$(wc -l <events.out)" -ge "$1" ]
	}
	poll_until 20 told "$1"
	kill $p
	wait $p || :
}

# All is gone but what the test itself has made.
all_deleted() {
	ctl delete "$pid" >deleted && ctl exit || return 1
	wait_for "$SHIM_PID" || return 1
	[ -z "$(ls -A d)" ] || { ls -A d; return 1; }
	[ -z "$(ls -A "$FAKE_RUNC" | grep -v faults)" ]
}

# ---- itself ----

@test "the socket is for its owner, and the directory is closed to others" {
	[ "$(stat -c %a d/shim.sock)" = 600 ]
	mkdir -m 755 other
	(cd other && exec contentfs-shim) 2>other.log 3>&- &
	track_pid $!
	poll_until 60 test -S other/shim.sock
	[ "$(stat -c %a other)" = 700 ]
	chmod 777 b
	cd b
	fails contentfs-shim
	[[ "$output" == *"others may write to"* ]]
}

@test "a second shim in a directory refuses, and the first goes on" {
	running
	cd d
	fails timeout 20 contentfs-shim
	[[ "$output" == *"has a shim already"* ]]
	cd ..
	[ "$(ctl state --json | jq '.processes[0].pid')" = "$pid" ]
	all_deleted
}

@test "a directory with a long name is as good as any" {
	kill_shim
	n=$(printf 'x%.0s' {1..200})
	mkdir -m 700 "$n"
	mv "$n" d2
	rmdir d 2>/dev/null || rm -rf d
	mkdir -m 700 -p "long/$n"
	ln -s "long/$n" d
	start_shim
	running
	exec_in sh -c 'exit 4'
	ctl wait "$epid" >out || :
	[ "$(cat out)" = 4 ]
	all_deleted
}

@test "it stays when its starter goes" {
	ctl exit
	wait_for $SHIM_PID
	setsid bash -c 'cd "$1" && contentfs-shim </dev/null >/dev/null 2>>../shim.log 3>&- & echo $! >"$1/../p"' _ "$T/d"
	poll_until 60 test -S d/shim.sock
	SHIM_PID=$(cat p)
	track_pid "$SHIM_PID"
	kill -HUP "$SHIM_PID"
	running
	ctl delete "$pid"
	ctl exit
}

@test "what its starter has open it does not keep open" {
	kill_shim
	mkfifo o
	exec 7<>o
	start_shim
	exec 7>&-
	! readlink /proc/"$SHIM_PID"/fd/* | grep "$T/o" || false
	running
	all_deleted
}

@test "SIGTERM ends it and leaves the container to the next" {
	running
	kill "$SHIM_PID"
	wait_for "$SHIM_PID"
	[ ! -e d/shim.sock ]
	kill -0 "$pid"
	start_shim
	[ "$(ctl state --json | jq '.processes[0].pid')" = "$pid" ]
	all_deleted
}

# ---- a runtime with faults ----

@test "a runtime's own words reach the client" {
	fault create fail 'no such thing "x" ä'
	fails create 'exit 0'
	[[ "$output" == *'fake-runc create: no such thing "x" ä'* ]]
	fault create crash
	fails create 'exit 0'
	[[ "$output" == *"killed by signal 11"* ]]
	no_fault
	running
	all_deleted
}

@test "a runtime may babble as much as it likes" {
	running
	fault kill noise 3000000
	fails ctl kill "$pid"
	[[ "$output" == *"the last words"* ]]
	no_fault
	all_deleted
}

@test "a runtime that hangs is ended, and nobody else waits for it" {
	kill_shim
	start_shim --runtime-timeout 2s
	running
	fault exec hang
	ctl exec sleep 1 >hung 2>&1 &
	hung=$!
	ctl state >/dev/null
	for _ in {1..10}; do
		timeout 1 "$BIN/shimctl" --dir "$T/d" state >/dev/null
	done
	kill -0 $hung
	wait $hung && false
	grep -q 'did not end within 2000 ms' hung
	no_fault
	exec_in true
	all_deleted
}

# Processes that the runtime has started, all of them gone.
none_but_init() {
	local p
	for p in $(tail -n +2 "$FAKE_RUNC/c1/pids"); do
		! kill -0 "$p" 2>/dev/null || return 1
	done
}

@test "a process that nobody would know of, since its runtime was ended, ends too" {
	kill_shim
	start_shim --runtime-timeout 1s
	running
	fault exec mute
	fails exec_in sleep 1000
	[[ "$output" == *"did not end within"* ]]
	[ "$(wc -l <"$FAKE_RUNC/c1/pids")" = 2 ]
	poll_until 20 none_but_init
	fault exec killed
	fails exec_in sleep 1000
	[[ "$output" == *"killed by signal 9"* ]]
	[ "$(wc -l <"$FAKE_RUNC/c1/pids")" = 3 ]
	poll_until 20 none_but_init
	kill -0 "$pid"
	no_fault
	exec_in sleep 1000
	ctl kill "$epid"
	all_deleted
}

@test "a create that hangs leaves nothing behind" {
	kill_shim
	start_shim --runtime-timeout 1s
	fault create hang
	fails create 'exit 0'
	[[ "$output" == *"did not end within"* ]]
	no_fault
	running
	all_deleted
}

@test "a runtime that names no process has failed" {
	fault create nopid
	fails create 'exit 0'
	[[ "$output" == *"pid"* ]]
	no_fault
	running
	fault exec nopid
	fails exec_in true
	no_fault
	all_deleted
}

@test "a process that ends before it is known has started before it ended, with its status" {
	running
	fault exec late
	for i in 1 2 3; do
		exec_in sh -c "exit $i"
		ctl wait "$epid" >out || :
		[ "$(cat out)" = "$i" ]
	done
	no_fault
	events 11
	jq -r 'select(.number > 2) | .type' events.out | paste -sd' ' >types
	[ "$(cat types)" = "EXEC_ADDED STARTED EXIT EXEC_ADDED STARTED EXIT EXEC_ADDED STARTED EXIT" ]
	all_deleted
}

@test "a container that ends while it is being started has started first" {
	fault start slow 300
	create 'exit 5'
	ctl start
	ctl wait >out || :
	[ "$(cat out)" = 5 ]
	events 3
	[ "$(jq -r .type events.out | paste -sd' ')" = "CREATED STARTED EXIT" ]
	all_deleted
}

# ---- clients ----

@test "a child that keeps stdout open keeps nobody waiting" {
	running
	mkfifo o
	exec_in --stdout "$T/o" sh -c 'sleep 1000 & echo ok'
	timeout 10 "$BIN/shimctl" --dir d wait "$epid"
	timeout 10 "$BIN/shimctl" --dir d delete "$epid"
	timeout 10 "$BIN/shimctl" --dir d state >/dev/null
	ctl kill --all -s KILL
	all_deleted
}

@test "a reader that never reads makes its writer wait and nobody else" {
	running
	mkfifo o
	exec 7<>o # and never reads
	exec_in --stdout "$T/o" sh -c 'while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done'
	blocked() {
		[ "$(cat /proc/"$epid"/wchan 2>/dev/null)" != 0 ] && grep -q '^State:.S' "/proc/$epid/status"
	}
	poll_until 20 blocked
	first=$epid
	exec_in sh -c 'exit 3'
	ctl wait "$epid" >out || :
	[ "$(cat out)" = 3 ]
	ctl kill -s KILL "$first"
	ctl wait "$first" >out || :
	[ "$(cat out)" = 137 ]
	exec 7>&-
	timeout 20 "$BIN/shimctl" --dir d delete "$pid"
	ctl exit
}

@test "what was written last is there for who reads later" {
	mkfifo o
	create 'echo first; echo last' --stdout "$T/o"
	ctl start
	ctl wait
	timeout 10 dd if=o iflag=nonblock status=none >got
	[ "$(cat got)" = "first
last" ]
	all_deleted
}

@test "a fifo that is not there is named, and does no harm" {
	fails create 'exit 0' --stdout "$T/nodir/o"
	[[ "$output" == *"nodir/o"* ]]
	running
	all_deleted
}

@test "stdin ends with CloseIO, not with a client" {
	mkfifo i
	create 'cat >got; exit 6' --stdin "$T/i"
	sed -i "s|cat >got|cat >$T/got|" b/config.json
	ctl delete "$pid"
	create "cat >$T/got; exit 6" --stdin "$T/i"
	ctl start
	echo one >i
	echo two >i
	ctl closeio
	ctl wait >out || :
	[ "$(cat out)" = 6 ]
	[ "$(cat got)" = "one
two" ]
	all_deleted
}

@test "clients that vanish in the middle of a call are not missed" {
	running
	for c in wait events; do
		"$BIN/shimctl" --dir d $c >/dev/null 2>&1 &
		p=$!
		poll_until 20 grep -q shimctl "/proc/$p/comm"
		kill -9 $p
		wait $p || :
	done
	fault exec slow 500
	"$BIN/shimctl" --dir d exec sh -c 'exit 1' >/dev/null 2>&1 &
	p=$!
	poll_until 20 sh -c 'ls d | grep -q process'
	kill -9 $p
	wait $p || :
	no_fault
	events 5
	[ "$(jq -r .type events.out | tail -n 1)" = EXIT ]
	all_deleted
}

# ---- after its death ----

@test "the next shim knows all: processes, events and their numbers" {
	running 'trap "exit 9" USR1; while :; do sleep 0.05; done'
	exec_in sleep 1000
	first=$epid
	exec_in sh -c 'exit 8'
	ctl wait "$epid" || :
	kill_shim
	kill -0 "$pid"
	kill -0 "$first"
	start_shim
	events 7
	[ "$(jq -r .type events.out | paste -sd' ')" = \
		"CREATED STARTED EXEC_ADDED STARTED EXEC_ADDED STARTED EXIT" ]
	[ "$(jq -r .number events.out | paste -sd' ')" = "1 2 3 4 5 6 7" ]
	ctl wait "$epid" >out || :
	[ "$(cat out)" = 8 ]
	ctl kill -s TERM "$first"
	ctl wait "$first" >out 2>&1 || :
	ctl state --json >state
	jq -e --argjson p "$first" '.processes[] | select(.pid == $p) | .lost or .exit_status == 143' state
	exec_in sh -c 'exit 2'
	ctl wait "$epid" >out || :
	[ "$(cat out)" = 2 ]
	all_deleted
}

keeper_of() {
	pgrep -f "^contentfs-shim --keeper\$" | while read -r p; do
		[ "$(readlink "/proc/$p/cwd")" != "$T/d" ] || echo "$p"
	done
}

no_keeper() {
	[ -z "$(keeper_of)" ]
}

@test "stdin does not end with the shim, but when it is closed; then nothing is kept any more" {
	mkfifo i
	create "while read -r x; do echo \$x >>$T/lines; done; echo end >>$T/lines" --stdin "$T/i"
	ctl start
	[ "$(keeper_of | wc -l)" = 1 ]
	for n in 1 2; do # so also what is taken over twice
		kill_shim
		start_shim
		echo "line $n" >i
	done
	poll_until 20 grep -qs 'line 2' lines
	kill -TERM "$SHIM_PID"
	wait_for "$SHIM_PID"
	start_shim
	echo "line 3" >i
	poll_until 20 grep -qs 'line 3' lines
	! grep end lines || false
	[ "$(keeper_of | wc -l)" = 1 ]
	ctl closeio "$pid"
	poll_until 20 grep -q end lines
	poll_until 20 no_keeper
	all_deleted
}

@test "a keeper that nobody comes back to ends with what it keeps" {
	mkfifo i
	create 'exec sleep 1000' --stdin "$T/i"
	ctl start
	kill_shim
	[ "$(keeper_of | wc -l)" = 1 ]
	kill -9 "$pid"
	poll_until 20 no_keeper
	start_shim
	all_deleted
}

@test "without its keeper a shim goes on" {
	mkfifo i
	create 'cat' --stdin "$T/i"
	ctl start
	kill -9 "$(keeper_of)"
	poll_until 20 no_keeper
	exec_in --stdin "$T/i" sleep 1000
	[ "$(keeper_of | wc -l)" = 1 ]
	ctl kill --all -s KILL
	all_deleted
	poll_until 20 no_keeper
}

@test "an end that nobody saw is told as lost, once, and not invented" {
	running
	kill_shim
	kill -9 "$pid"
	poll_until 20 sh -c "! kill -0 $pid 2>/dev/null"
	start_shim
	events 3
	[ "$(jq -c 'select(.type == "EXIT") | .lost' events.out)" = true ]
	kill_shim
	start_shim
	events 3
	[ "$(jq -c 'select(.type == "EXIT") | .lost' events.out)" = true ]
	all_deleted
}

# The journal is of another boot of the machine than this one.
reboot() {
	[ "$(head -c 4 d/journal)" = "$(printf 'B\t1\t')" ]
	sed -i '1s/.*/B\t1\t01234567-89ab-cdef-0123-456789abcdef/' d/journal
}

@test "after a reboot all have ended, nobody knows how, and their pids are those of others" {
	running
	exec_in sleep 1000
	kill_shim
	reboot
	mv "$FAKE_RUNC/c1" "$FAKE_RUNC/others"
	start_shim
	events 6
	[ "$(jq -r .type events.out | paste -sd' ')" = "CREATED STARTED EXEC_ADDED STARTED EXIT EXIT" ]
	[ "$(jq -c 'select(.type == "EXIT") | [.pid, .lost]' events.out | paste -sd' ')" = \
		"[$epid,true] [$pid,true]" ]
	ctl state --json | jq -e 'all(.processes[]; .lost)'
	fails ctl kill "$epid"
	fails ctl kill --all -s KILL
	ctl delete "$pid"
	kill -0 "$pid" "$epid"
	kill -9 "$pid" "$epid"
	rm -r "$FAKE_RUNC/others"
	ctl exit
	wait_for "$SHIM_PID"
	[ -z "$(ls -A d)" ]
}

@test "after a reboot a launch that was under way has come to nothing" {
	running
	kill_shim
	reboot
	head -n 2 d/journal >journal # it is being created
	mv journal d/journal
	echo "$pid" >d/init.pid
	start_shim
	[ "$(ctl state)" = "{}" ]
	kill -0 "$pid"
	ctl exit
	wait_for "$SHIM_PID"
	[ -z "$(ls -A d)" ]
}

@test "a launch that was under way is finished by the next shim" {
	running
	fault exec slow 1500
	ctl exec --env "FAKE_OF=$T" sleep 1000 >/dev/null 2>&1 &
	p=$!
	poll_until 20 sh -c 'ls d | grep -q process'
	kill_shim
	wait $p || :
	start_shim
	[ "$(ctl state --json | jq '.processes | length')" = 2 ]
	no_fault
	all_deleted
}

@test "a journal that is rubbish is no reason to give up" {
	ctl exit
	wait_for "$SHIM_PID"
	head -c 5000 /dev/urandom >d/journal
	start_shim
	grep -q 'lines could not be read' shim.log
	running
	all_deleted
}

@test "killed at random moments, it comes back with the same container" {
	running
	for i in $(seq "${ROUNDS:-12}"); do
		for _ in 1 2 3; do
			exec_in sh -c 'exit 0' 2>/dev/null || :
		done &
		background=$!
		sleep "0.$(printf '%03d' $((RANDOM % 400)))"
		kill_shim
		wait $background || :
		kill -0 "$pid"
		start_shim
		[ "$(ctl state --json | jq '.processes[0].pid')" = "$pid" ]
	done
	events 2
	# Each number once, each exit once.
	[ "$(jq .number events.out | sort -n | uniq -d | wc -l)" = 0 ]
	[ "$(jq 'select(.type == "EXIT") | .pid' events.out | sort | uniq -d | wc -l)" = 0 ]
	all_deleted
}

# ---- endurance ----

# How many descriptors the shim has at rest: one of a client that has ended may be open for a moment.
least_fds() {
	for _ in {1..10}; do
		ls "/proc/$SHIM_PID/fd" | wc -l
		sleep 0.05
	done | sort -n | head -1
}

@test "hundreds of execs leave it as large as it was, each exit told once and in order" {
	running
	run_some() {
		for _ in $(seq "$1"); do
			exec_in sh -c 'exit 0' || return 1
			ctl wait "$epid" >/dev/null || return 1
			ctl delete "$epid" >/dev/null || return 1
		done
	}
	run_some 20
	fds=$(least_fds)
	rss=$(awk '/^VmRSS/ { print $2 }' /proc/"$SHIM_PID"/status)
	run_some "${EXECS:-100}"
	[ "$(least_fds)" = "$fds" ]
	after=$(awk '/^VmRSS/ { print $2 }' /proc/"$SHIM_PID"/status)
	echo "rss $rss kB, then $after kB"
	# A sanitizer keeps what is freed.
	grep -qa __asan_init "$BIN/contentfs-shim" || [ "$after" -le $((rss + 200)) ]
	events $((2 + 3 * (20 + ${EXECS:-100})))
	jq -r 'select(.number > 2) | "\(.type) \(.pid)"' events.out | awk '
		NR % 3 == 1 { pid = $2 }
		$1 != (NR % 3 == 1 ? "EXEC_ADDED" : NR % 3 == 2 ? "STARTED" : "EXIT") || $2 != pid { bad = 1 }
		END { exit bad }'
	all_deleted
}

@test "paths that shimctl is given are of its own directory, not of the shim's" {
	ln -s "$REPO/tests/lib/fake-runc" runtime
	ln -s "$BIN/contentfs-shim" shim
	create 'exit 0' --runtime ./runtime
	ctl delete "$pid"
	jq -n --arg t "FAKE_OF=$T" '{root: {path: "rootfs"}, process: {
		args: ["/bin/sh", "-c", "echo hi; exit 5"], env: ["PATH=/usr/bin:/bin", $t]}}' \
		>b/config.json
	run shimctl run --dir e --shim ./shim --runtime ./runtime b
	[ "$status" -eq 5 ]
	[ "$output" = hi ]
	[ ! -e e ]
}

# run_in_background ARG...: shimctl run of what b says, in $T/e; $run_pid
run_in_background() {
	jq -n --arg t "FAKE_OF=$T" '{root: {path: "rootfs"}, process: {
		args: ["/bin/sh", "-c", "exec sleep 1000"], env: ["PATH=/usr/bin:/bin", $t]}}' >b/config.json
	"$BIN/shimctl" run --dir e --shim "$BIN/contentfs-shim" \
		--runtime "$REPO/tests/lib/fake-runc" "$@" ./b 2>run.err >run.out 3>&- &
	run_pid=$!
	track_pid $run_pid
}

@test "run: a signal that comes before there is a process leaves nothing behind" {
	fault create slow 1000
	run_in_background
	poll_until 20 grep -qs fake-runc e/journal
	kill -TERM $run_pid
	wait $run_pid && false
	[ $? -eq 143 ]
	grep -q 'ended by signal 15' run.err
	[ ! -e e ]
	[ "$(ls "$FAKE_RUNC")" = faults ]
}

@test "run: a container that cannot be started is gone with its shim" {
	fault start fail 'no such luck'
	run_in_background
	wait $run_pid && false
	[ $? -eq 1 ]
	grep -q 'run: fake-runc start: no such luck' run.err
	[ ! -e e ]
	[ "$(ls "$FAKE_RUNC")" = faults ]
}
