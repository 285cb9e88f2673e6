#!/usr/bin/env bats
# shimctl against a shim without containers: what it prints, joins and returns. No root, no runtime.
#
# shellcheck disable=SC2016 # what is in single quotes is for the shell in the container

load ../lib/common

setup() {
	common_setup
	/usr/bin/python3 -c 'import grpc' || lacking python3-grpcio
	cd "$T" || return 1
	start_shim
}

start_shim() {
	/usr/bin/python3 "$REPO/tests/lib/fake_shim.py" "$REPO/proto" "$T/shim.sock" \
		2>"$T/shim.log" 3>&- &
	SHIM_PID=$!
	track_pid $SHIM_PID
	poll_until 60 shimctl state >/dev/null 2>&1
}

# create SHELL_TEXT [options]: a container whose init is sh -c TEXT
create() {
	mkdir -p b
	jq -n --arg c "$1" '{process: {args: ["/bin/sh", "-c", $c]}}' >b/config.json
	shift
	shimctl create --bundle b "$@" c1
}

called() {
	grep -c "^$1 $2" shim.log
}

@test "state of nothing is an empty object without a newline" {
	shimctl state >out
	[ "$(cat out; echo x)" = "{}x" ]
}

@test "create, start, state, wait and delete print what they always have" {
	run create 'exit 7'
	[ "$status" -eq 0 ]
	pid=$(shimctl ps | awk 'NR == 2 { print $1 }')
	[ "$output" = "container created with id c1 and pid $pid" ]
	shimctl state >out
	cat >want <<-JSON
		{
		     "id": "c1",
		     "processes": [
		         {
		             "pid": $pid,
		             "state": 1
		         }
		     ]
		 }
	JSON
	diff <(cat out; echo) want
	run shimctl start
	[ "$status" -eq 0 ] && [ -z "$output" ]
	run shimctl wait
	[ "$output" = 7 ]
	run shimctl delete "$pid"
	[ "$status" -eq 0 ]
	[ "$output" = "container deleted and returned exit status 7" ]
	shimctl exit
	wait_for "$SHIM_PID"
}

@test "what runs the runtime is waited for as long as the shim waits for that" {
	create 'exec sleep 1000'
	shimctl start
	pid=$(shimctl ps | awk 'NR == 2 { print $1 }')
	run shimctl exec sleep 1000
	shimctl kill "${output##* }"
	shimctl delete "$pid"
	for call in Create Start Exec Kill Delete; do
		called $call
	done
	! grep -E '^(Create|Start|Exec|Kill|Delete) .*within' shim.log || false
	called State '.*within'
}

@test "events are lines, or objects with --json" {
	create 'exit 0'
	pid=$(shimctl ps | awk 'NR == 2 { print $1 }')
	shimctl start
	run shimctl events
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "type=CREATED id=c1 pid=$pid status=0" ]
	[ "${lines[1]}" = "type=STARTED id=c1 pid=$pid status=0" ]
	[ "$(shimctl events --json | jq -rs 'map("\(.number) \(.type) \(.pid)") | join(",")')" = \
		"1 CREATED $pid,2 STARTED $pid" ]
	[ "$(shimctl events --json --after 1 | jq .number)" = 2 ]
}

@test "what fails says why and exits 1" {
	run shimctl create
	[ "$status" -eq 1 ]
	[ "$output" = "shimctl: container id must be provided" ]
	run shimctl delete 999999
	[ "$status" -eq 1 ]
	[ "$output" = "shimctl: delete: process does not exist 999999 (NOT_FOUND)" ]
	run shimctl delete x
	[ "$output" = 'shimctl: "x" is not a pid' ]
	run shimctl kill -s NOSUCH
	[ "$output" = 'shimctl: there is no signal "NOSUCH"' ]
	run shimctl pause
	[ "$status" -eq 1 ]
	[[ $output = *"(UNIMPLEMENTED)" ]]
	run shimctl nothing
	[ "$status" -eq 3 ]
	run shimctl --socket "$T/none" state
	[ "$status" -eq 1 ]
	[[ $output = *"$T/none"*"No such file"* ]]
	mkdir empty
	run shimctl create --bundle empty c1
	[ "$status" -eq 1 ]
	[[ $output = *"fake-runc: "*"(UNKNOWN)" ]]
}

@test "the shim is found by --dir and --socket, in front of the command and behind it" {
	cd /
	shimctl --dir "$T" state
	shimctl --socket="$T/shim.sock" state
	shimctl state --dir="$T"
	shimctl state --socket "$T/shim.sock"
	fails shimctl state
}

@test "an attached exec has our streams, and we its exit status" {
	create 'sleep 1000' && shimctl start
	run shimctl exec -a -e A=b --cwd /tmp sh -c 'echo $A; pwd; exit 3' </dev/null
	[ "$status" -eq 3 ]
	[ "$output" = "b
/tmp" ]
	shimctl exec -a sh -c 'echo out; echo err >&2' </dev/null >out 2>err
	[ "$(cat out)" = out ] && [ "$(cat err)" = err ]
	run shimctl exec -a sh -c 'kill -9 $$' </dev/null
	[ "$status" -eq 137 ]
	random_file in 3000000
	shimctl exec -a cat <in >out
	cmp in out
	run shimctl exec -a sh -c 'exit 99' </dev/null # its shim has lost this one
	[ "$status" -eq 255 ]
	[ "$output" = "shimctl: the exit status is lost" ]
	[ -z "$(find /tmp -maxdepth 1 -name 'shimctl-*' -newer b/config.json)" ]
}

@test "an attached create sees the container from its first byte to its exit" {
	create 'read l; echo got $l; exit 4' --attach >out <<<hello &
	pid=$!
	poll_until 60 test -s out
	shimctl start
	status=0 && wait_for $pid || status=$?
	[ "$status" -eq 4 ]
	[ "$(tail -n 1 out)" = "got hello" ]
}

@test "a child that keeps stdout open holds nobody up" {
	create 'sleep 1000' && shimctl start
	run timeout 60 shimctl exec -a sh -c 'sleep 300 & echo $!' </dev/null
	[ "$status" -eq 0 ]
	kill "$output"
}

@test "whoever leaves the pipe ends the process as without us" {
	create 'sleep 1000' && shimctl start
	timeout 60 shimctl exec -a yes </dev/null | head -n 1 >out
	[ "${PIPESTATUS[0]}" -eq 141 ]
	[ "$(cat out)" = y ]
}

@test "a signal goes to the process; the third of a kind leaves it" {
	create 'sleep 1000' && shimctl start
	shimctl exec -a sh -c 'trap "exit 5" TERM; echo up; while :; do sleep 0.05; done' \
		</dev/null >out 3>&- &
	pid=$!
	track_pid $pid
	poll_until 60 test -s out
	kill $pid
	status=0 && wait_for $pid || status=$?
	[ "$status" -eq 5 ]
	shimctl exec -a sh -c 'trap "" TERM; echo up $$; while :; do sleep 0.05; done' \
		</dev/null >out2 3>&- &
	pid=$!
	track_pid $pid
	poll_until 60 test -s out2
	for i in 1 2 3; do
		kill $pid
		poll_until 60 sh -c "! kill -0 $pid 2>/dev/null || [ \$(grep -c ^Kill shim.log) -gt $i ]"
	done
	status=0 && wait_for $pid || status=$?
	[ "$status" -eq 143 ]
	kill -9 "$(cut -d' ' -f2 out2)"
}

@test "fifos that are named are made, and are not ours to remove" {
	create 'echo hi; exit 0' --stdin "$T/i" --stdout o --stderr "$T/e"
	[ -p i ] && [ -p o ] && [ -p e ]
	cat o >out &
	pid=$!
	shimctl start
	status=0 && wait_for $pid || status=$?
	[ "$(cat out)" = hi ]
	[ -p i ] && [ -p o ] && [ -p e ]
	grep -q "stdout: \"$T/o\"" shim.log
}

@test "a terminal: size, resize, keys, exit status, and ours as it was before" {
	command -v tmux >/dev/null || lacking tmux
	create 'sleep 1000' && shimctl start
	tmux() { command tmux -S "$T/tmux" "$@"; }
	tmux -f /dev/null new-session -d -s t -x 80 -y 24 "bash --norc --noprofile" 3>&-
	track_pid "$(tmux display-message -p '#{pid}')"
	screen() { tmux capture-pane -p -t t; }
	shows() { screen | grep -qE "$1"; }
	tmux send-keys -t t "PS1=; cd $T; stty -a >before; clear" Enter
	poll_until 60 test -s before
	tmux send-keys -t t "shimctl exec -a -t bash --norc --noprofile; echo rc=\$?" Enter
	poll_until 60 shows 'bash.*[$#] *$'
	tmux send-keys -t t "PS1='in> '; stty size" Enter
	poll_until 60 shows '^24 80'
	tmux resize-window -t t -x 100 -y 30
	poll_until 60 grep -q 'Pty .*width: 100' shim.log
	tmux send-keys -t t "stty size" Enter
	poll_until 60 shows '^30 100'
	tmux send-keys -t t "sleep 300" Enter
	poll_until 60 shows '^in> sleep 300'
	tmux send-keys -t t C-c
	tmux send-keys -t t 'echo int=$?' Enter
	poll_until 60 shows '^int=130'
	tmux send-keys -t t "sleep 301" Enter
	poll_until 60 shows 'sleep 301'
	tmux send-keys -t t C-z
	poll_until 60 shows 'Stopped'
	tmux send-keys -t t 'kill %1; exit 9' Enter
	tmux send-keys -t t 'exit 9' Enter # bash asks again while there are jobs
	poll_until 60 shows '^rc=9'
	tmux send-keys -t t "stty -a >after; echo done" Enter
	poll_until 60 test -s after
	# the window is another one meanwhile
	diff <(sed 's/rows.*;//' before) <(sed 's/rows.*;//' after)
}

@test "run: a shim, a container, its exit status, and nothing left behind" {
	cat >shim <<-SH
		#!/bin/sh
		exec /usr/bin/python3 "$REPO/tests/lib/fake_shim.py" "$REPO/proto" "\$PWD/shim.sock"
	SH
	chmod +x shim
	mkdir b
	echo '{"process": {"args": ["none"]}, "root": {"path": "rootfs"}}' >b/config.json
	run shimctl run --shim "$T/shim" --dir "$T/d" b sh -c 'read l; echo "got $l"; exit 6' <<<hello
	[ "$status" -eq 6 ]
	[ "$output" = "got hello" ]
	[ ! -e d ]
	[ "$(jq -c .process b/config.json)" = '{"args":["none"]}' ]
	mkdir d && touch d/x
	run shimctl run --shim "$T/shim" --dir "$T/d" b true
	[ "$status" -eq 1 ]
	[[ $output = *"$T/d is in use"* ]]
	mkdir c
	echo '{"process": password' >c/config.json
	run shimctl run --dir "$T/e" ./c
	[ "$status" -eq 1 ]
	[[ $output = *"c/config.json: line 1, column "*": no JSON" ]]
	[ ! -e e ]
	run shimctl run --shim "$T/none" --dir "$T/e" b true
	[ "$status" -eq 1 ]
	[ ! -e e ]
	run shimctl run --shim /bin/false --dir "$T/e" b true
	[ "$status" -eq 1 ]
	[[ $output = *"the shim ended at once"* ]]
	[ ! -e e ]
}

@test "run: a signal while an image is unpacked ends that too, and leaves nothing behind" {
	mkdir bin
	cp "$BIN/shimctl" bin
	cat >bin/dist <<-SH
		#!/bin/sh
		echo \$\$ >"$T/unpacks"
		mkdir -p "$T/d/bundle/rootfs"
		exec sleep 1000
	SH
	chmod +x bin/dist
	bin/shimctl run --dir "$T/d" image 2>err 3>&- &
	p=$!
	track_pid $p
	poll_until 20 test -d d/bundle/rootfs
	kill -TERM $p
	wait $p && false
	[ $? -eq 143 ]
	! kill -0 "$(cat unpacks)" 2>/dev/null || false
	[ ! -e d ]
}
