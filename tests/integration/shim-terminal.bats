#!/usr/bin/env bats
# People at a terminal: shimctl run -t in a tmux window, with the real shim, runc and busybox.
#
# shellcheck disable=SC2016 # what is in single quotes is for the shell in the container

load ../lib/common

setup() {
	common_setup
	require_root || return 1
	command -v runc >/dev/null || lacking runc
	command -v tmux >/dev/null || lacking tmux
	[ -x /bin/busybox ] || lacking busybox-static
	cd "$T" || return 1
	bundle
	command tmux -S "$T/tmux" -f /dev/null new-session -d -s t -x 80 -y 24 \
		"bash --norc --noprofile" 3>&-
	track_pid "$(tmux display-message -p '#{pid}')"
	tmux send-keys -t t "PS1=; PATH=$PATH; cd $T; stty -a >before; clear" Enter
	poll_until 60 test -s before
}

teardown() {
	[ -z "${ID:-}" ] || runc delete --force "$ID" 2>/dev/null
	common_teardown
}

bundle() {
	local p
	ID=$(basename "$T")
	mkdir -p b/rootfs/bin b/rootfs/tmp b/rootfs/proc b/rootfs/dev b/rootfs/sys
	cp /bin/busybox b/rootfs/bin/
	for p in sh vi stty sleep cat echo ls kill; do
		ln -s busybox "b/rootfs/bin/$p"
	done
	(cd b && runc spec)
	jq '.root.readonly = false | del(.process.rlimits) | .process.env += ["PS1=in> "]' \
		b/config.json >c && mv c b/config.json
}

tmux() {
	command tmux -S "$T/tmux" "$@"
}

keys() {
	tmux send-keys -t t "$@"
}

shows() {
	tmux capture-pane -p -t t | grep -qE "$1"
}

run_sh() {
	keys "shimctl run --id $ID --dir $T/d -t b /bin/sh; echo rc=\$?" Enter
	poll_until 60 shows '^in> *$'
}

# attach: shimctl attach in the window, until the shell's prompt is there.
attach() {
	keys "PS1=; cd $T; shimctl --dir $T/d attach; echo rc=\$?" Enter
	prompts() {
		keys Enter
		shows '^in> *$'
	}
	poll_until 60 prompts
}

# The window is another one meanwhile; all else is as it was.
terminal_is_back() {
	keys "stty -a >after; echo done" Enter
	poll_until 60 test -s after
	diff <(sed 's/rows.*;//' before) <(sed 's/rows.*;//' after)
}

@test "a shell: size, resize, Ctrl-C, exit status, and the terminal as before" {
	run_sh
	keys 'stty size' Enter
	poll_until 60 shows '^24 80'
	tmux resize-window -t t -x 100 -y 30
	resized() {
		keys 'stty size' Enter
		shows '^30 100'
	}
	poll_until 60 resized
	keys 'echo begin$((1+1)); sleep 300' Enter
	poll_until 60 shows '^begin2'
	keys C-c
	keys 'echo int=$?' Enter
	poll_until 60 shows '^int=130'
	keys 'exit 9' Enter
	poll_until 60 shows '^rc=9'
	terminal_is_back
	[ ! -e d ]
	fails runc state "$ID"
}

@test "Ctrl-Z stops the job in the container, and not us" {
	run_sh
	keys 'sleep 301' Enter
	poll_until 60 shows 'sleep 301'
	keys C-z
	poll_until 60 shows 'Stopped'
	keys 'kill -9 %1' Enter
	told() { # at the next prompt
		keys Enter
		shows 'Killed'
	}
	poll_until 60 told
	keys 'exit 0' Enter
	poll_until 60 shows '^rc=0'
	terminal_is_back
}

@test "a full-screen editor, through a resize" {
	run_sh
	keys 'vi /tmp/f' Enter
	poll_until 60 shows '^~'
	keys i 'first line' Enter 'second line' Escape
	poll_until 60 shows '^second line'
	tmux resize-window -t t -x 60 -y 16
	keys ':wq' Enter
	poll_until 60 shows '^in> *$'
	[ "$(cat b/rootfs/tmp/f)" = "first line
second line" ]
	keys 'exit' Enter
	poll_until 60 shows '^rc=0'
	terminal_is_back
}

@test "a terminal that goes away detaches; the container lives, and attach finds it" {
	run_sh
	tmux new-window -t t: "bash --norc --noprofile" 3>&-
	pid=$(pgrep -f "shimctl run --id $ID")
	kill -HUP "$pid"
	poll_until 60 sh -c "! kill -0 $pid 2>/dev/null"
	[ "$(runc state "$ID" | jq -r .status)" = running ]
	attach
	keys 'exit 3' Enter
	poll_until 60 shows '^rc=3'
	init=$(shimctl --dir d state --json | jq '.processes[0].pid')
	shimctl --dir d delete "$init"
	shimctl --dir d exit
}

@test "the shim is killed: the session at the terminal goes on under the next one" {
	run_sh
	keys 'x=kept; sleep 400 &' Enter
	pid=$(pgrep -f "shimctl run --id $ID")
	shim=$(pgrep -P "$pid")
	tmux new-window -t t: "bash --norc --noprofile" 3>&-
	kill -HUP "$pid" # detaches, and leaves its fifos
	poll_until 60 sh -c "! kill -0 $pid 2>/dev/null"
	for _ in 1 2; do
		kill -9 "$shim"
		poll_until 60 sh -c "! kill -0 $shim 2>/dev/null"
		(cd d && exec contentfs-shim) </dev/null >>shim.log 2>&1 3>&- &
		shim=$!
		track_pid $shim
		poll_until 60 shimctl --dir d state
	done
	attach
	keys 'echo is=$x' Enter
	poll_until 60 shows '^is=kept'
	tmux resize-window -t t -x 90 -y 20
	resized() {
		keys 'stty size' Enter
		shows '^20 90'
	}
	poll_until 60 resized
	keys 'echo begin$((1+1)); sleep 302' Enter
	poll_until 60 shows '^begin2'
	keys C-c
	keys 'echo int=$?' Enter
	poll_until 60 shows '^int=130'
	keys 'exit 7' Enter
	poll_until 60 shows '^rc=7'
	init=$(shimctl --dir d state --json | jq '.processes[0].pid')
	shimctl --dir d delete "$init"
	[ ! -e d/keep.sock ]
	shimctl --dir d exit
	wait_for "$shim"
}
