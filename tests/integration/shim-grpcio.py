#!/usr/bin/python3
"""Every call of contentfs-shim by python3-grpcio, with runc and busybox.

Needs root, runc and busybox-static; $BIN/contentfs-shim.
"""
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from shim_client import BIN, DEADLINE, Shim, grpc, open_channel, pb, wait_until  # noqa: E402

CODE = grpc.StatusCode


def lacking(what):
    print("needs " + what, file=sys.stderr)
    sys.exit(1 if os.environ.get("STRICT") else 77)


if os.geteuid() != 0:
    lacking("root")
if shutil.which("runc") is None or not os.path.exists("/bin/busybox"):
    lacking("runc and busybox-static")
if not os.path.exists(os.path.join(BIN, "contentfs-shim")):
    lacking("contentfs-shim")


def make_bundle(path, script, terminal=False, memory=0):
    os.makedirs(os.path.join(path, "rootfs/bin"))
    for d in ("proc", "dev", "sys", "tmp"):
        os.mkdir(os.path.join(path, "rootfs", d))
    shutil.copy("/bin/busybox", os.path.join(path, "rootfs/bin"))
    for name in ("sh", "cat", "sleep", "true", "false", "id", "env", "pwd", "stty", "echo", "kill",
                 "yes", "grep"):
        os.symlink("busybox", os.path.join(path, "rootfs/bin", name))
    subprocess.run(["runc", "spec"], cwd=path, check=True)
    config = os.path.join(path, "config.json")
    with open(config, encoding="utf-8") as f:
        spec = json.load(f)
    spec["process"]["args"] = ["/bin/sh", "-c", script]
    spec["process"]["terminal"] = terminal
    spec["process"].pop("rlimits", None)
    spec["root"]["readonly"] = False
    if memory:
        spec["linux"]["resources"]["memory"] = {"limit": memory}
    with open(config, "w", encoding="utf-8") as f:
        json.dump(spec, f)


class Output:
    """The reading end of a fifo: opened before the shim does, read to its end in a thread."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self.data = b""
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.stop = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        opened = False
        while not self.stop:
            try:
                chunk = os.read(self.fd, 65536)
            except BlockingIOError:
                opened = True
                chunk = None
            if chunk:
                opened = True
                self.data += chunk
            elif chunk == b"" and opened:
                return
            else:
                time.sleep(0.002)

    def close(self):
        self.stop = True
        self.thread.join()
        os.close(self.fd)


class ShimCase(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="shim-grpcio-")
        self.id = os.path.basename(self.dir)
        self.state = os.path.join(self.dir, "state")
        os.mkdir(self.state, 0o700)
        self.outputs = []
        self.fds = []
        self.start_shim()

    def start_shim(self):
        log = open(os.path.join(self.dir, "shim.log"), "ab")
        self.process = subprocess.Popen([os.path.join(BIN, "contentfs-shim")], cwd=self.state,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.path = os.path.join(self.state, "shim.sock")
        wait_until(lambda: os.path.exists(self.path))
        self.channel = open_channel(self.path)
        grpc.channel_ready_future(self.channel).result(timeout=DEADLINE)
        self.shim = Shim(self.channel)

    def tearDown(self):
        self.channel.close()
        self.process.kill()
        self.process.wait()
        subprocess.run(["runc", "delete", "--force", self.id], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        for o in self.outputs:
            o.close()
        for fd in self.fds:
            os.close(fd)
        with open(os.path.join(self.dir, "shim.log"), encoding="utf-8", errors="replace") as f:
            log = f.read()
        shutil.rmtree(self.dir)
        self.assertNotIn("Sanitizer", log)
        self.assertNotIn("runtime error:", log)

    # Each returns what the call returns.

    def ask(self, method, request):
        return getattr(self.shim, method)(request, timeout=DEADLINE)

    def fails(self, code, method, request):
        with self.assertRaises(grpc.RpcError) as caught:
            self.ask(method, request)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception.details()

    def fifo(self, name):
        path = os.path.join(self.dir, name)
        os.mkfifo(path)
        self.fds.append(os.open(path, os.O_RDWR))
        return path

    def output(self, name):
        self.outputs.append(Output(os.path.join(self.dir, name)))
        return self.outputs[-1]

    def create(self, script, terminal=False, memory=0, **kw):
        bundle = os.path.join(self.dir, "bundle")
        make_bundle(bundle, script, terminal, memory)
        self.pid = self.ask("Create", pb.CreateRequest(
            id=self.id, bundle=bundle, terminal=terminal, **kw)).pid
        self.assertGreater(self.pid, 1)
        return self.pid

    def running(self, script="exec sleep 1000", **kw):
        self.create(script, **kw)
        self.ask("Start", pb.StartRequest())
        return self.pid

    def delete_all(self):
        status = self.ask("Delete", pb.DeleteRequest(pid=self.pid)).exit_status
        self.ask("Exit", pb.ExitRequest())
        self.assertEqual(self.process.wait(timeout=DEADLINE), 0)
        return status

    def watch(self, n, after=0):
        events = []
        stream = self.shim.Watch(pb.WatchRequest(after=after), timeout=DEADLINE)
        for e in stream:
            events.append(e)
            if len(events) == n:
                break
        stream.cancel()
        return events

    def exec(self, *args, **kw):
        kw.setdefault("cwd", "/")
        kw.setdefault("env", ["PATH=/bin"])
        return self.ask("Exec", pb.ExecRequest(args=args, **kw)).pid


class Life(ShimCase):
    def test_a_life_from_create_to_exit(self):
        self.assertEqual(self.ask("State", pb.StateRequest()), pb.StateResponse())
        pid = self.create("exit 7")
        state = self.ask("State", pb.StateRequest())
        self.assertEqual(state, pb.StateResponse(id=self.id, processes=[
            pb.Process(pid=pid, state=pb.RUNNING)]))
        self.assertEqual(self.ask("Inspect", pb.InspectRequest()).phase, pb.PHASE_CREATED)
        self.ask("Start", pb.StartRequest())
        end = self.ask("Wait", pb.WaitRequest(pid=pid))
        self.assertEqual((end.exit_status, end.lost), (7, False))
        self.assertLess(abs(end.exited_at_ns / 1e9 - time.time()), 60)
        self.assertEqual(self.ask("State", pb.StateRequest()).processes[0].state, pb.STOPPED)
        events = self.watch(3)
        self.assertEqual([(e.number, e.event.type, e.event.pid, e.event.exit_status)
                          for e in events],
                         [(1, pb.CREATED, pid, 0), (2, pb.STARTED, pid, 0), (3, pb.EXIT, pid, 7)])
        self.assertEqual(events[0].event.id, self.id)
        self.fails(CODE.FAILED_PRECONDITION, "Exit", pb.ExitRequest())
        self.assertEqual(self.delete_all(), 7)
        self.assertFalse(os.path.exists(self.path))

    def test_the_events_of_january_2017_reach_every_subscriber(self):
        early = self.shim.Events(pb.EventsRequest(), timeout=DEADLINE)
        pid = self.running("exit 3")
        self.ask("Wait", pb.WaitRequest(pid=pid))
        late = self.shim.Events(pb.EventsRequest(), timeout=DEADLINE)
        for stream in (early, late):
            got = [next(stream) for _ in range(3)]
            self.assertEqual([e.type for e in got], [pb.CREATED, pb.STARTED, pb.EXIT])
            self.assertEqual(got[2].exit_status, 3)
            stream.cancel()

    def test_watch_goes_on_behind_a_number(self):
        pid = self.running("exit 0")
        self.ask("Wait", pb.WaitRequest(pid=pid))
        self.assertEqual([e.number for e in self.watch(1, after=2)], [3])

    def test_deleting_what_runs_kills_it(self):
        self.running()
        self.assertEqual(self.delete_all(), 137)

    def test_what_was_created_can_be_deleted_without_a_start(self):
        self.create("exit 0")
        self.delete_all()

    def test_stdio_by_fifos_to_the_last_byte(self):
        out, err = self.output("o"), self.output("e")
        stdin = self.fifo("i")
        pid = self.create("cat; echo done >&2", stdin=stdin, stdout=out.path, stderr=err.path)
        self.ask("Start", pb.StartRequest())
        fd = self.fds.pop()
        os.write(fd, b"hello\n" * 1000)
        os.close(fd)
        self.ask("CloseIO", pb.CloseIORequest(pid=pid))
        self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=pid)).exit_status, 0)
        self.delete_all()
        wait_until(lambda: len(out.data) == 6000 and err.data == b"done\n")
        self.assertEqual(out.data, b"hello\n" * 1000)

    def test_a_terminal_has_a_size_and_echoes(self):
        out = self.output("o")
        stdin = self.fifo("i")
        pid = self.create("stty size; read x; stty size; exit 4", terminal=True, stdin=stdin,
                          stdout=out.path)
        self.ask("Pty", pb.PtyRequest(pid=pid, width=101, height=31))
        self.ask("Start", pb.StartRequest())
        wait_until(lambda: b"31 101" in out.data)
        self.ask("Pty", pb.PtyRequest(pid=pid, width=77, height=22))
        os.write(self.fds[-1], b"go\n")
        wait_until(lambda: b"22 77" in out.data)
        self.assertIn(b"go\r\n", out.data)
        self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=pid)).exit_status, 4)
        info = self.ask("Inspect", pb.InspectRequest()).processes[0]
        self.assertTrue(info.init and info.terminal)
        self.assertEqual((info.stdin, info.stdout, info.exit.exit_status), (stdin, out.path, 4))
        self.delete_all()


class Exec(ShimCase):
    def test_an_exec_runs_as_it_was_told(self):
        self.running()
        out = self.output("o")
        pid = self.exec("/bin/sh", "-c", "pwd; id -u; id -g; echo $K; grep CapEff /proc/self/status",
                        stdout=out.path, cwd="/tmp", env=["PATH=/bin", "K=v w"],
                        user=pb.User(uid=5, gid=6), capabilities=["CAP_KILL"])
        self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=pid)).exit_status, 0)
        wait_until(lambda: out.data.count(b"\n") == 5)
        lines = out.data.decode().splitlines()
        self.assertEqual(lines[:4], ["/tmp", "5", "6", "v w"])
        types = [(e.event.type, e.event.pid) for e in self.watch(5)]
        self.assertEqual(types[2][1], pid)
        self.assertEqual(types[2][0], pb.EXEC_ADDED)
        self.assertEqual(types[-1], (pb.EXIT, pid))
        self.assertEqual(self.ask("Delete", pb.DeleteRequest(pid=pid)).exit_status, 0)
        self.fails(CODE.NOT_FOUND, "Delete", pb.DeleteRequest(pid=pid))
        self.delete_all()

    def test_capabilities_are_a_flat_list_that_the_runtime_takes(self):
        self.running()
        out = self.output("o")
        pid = self.exec("/bin/grep", "CapEff", "/proc/self/status", stdout=out.path,
                        capabilities=["CAP_KILL", "CAP_CHOWN"])
        self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=pid)).exit_status, 0)
        wait_until(lambda: b"\n" in out.data)
        self.assertEqual(int(out.data.split()[1], 16), 1 << 5 | 1 << 0)

    def test_what_the_runtime_says_reaches_the_client(self):
        self.running()
        text = self.fails(CODE.UNKNOWN, "Exec", pb.ExecRequest(args=["/bin/nothing"], cwd="/"))
        self.assertIn("/bin/nothing", text)
        self.assertIn("no such file", text)

    def test_exit_statuses_and_signals(self):
        self.running()
        for script, status in (("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137),
                               ("kill -15 $$", 143)):
            pid = self.exec("/bin/sh", "-c", script)
            self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=pid)).exit_status, status)

    def test_twenty_at_once(self):
        self.running()
        calls = [self.shim.Exec.future(pb.ExecRequest(
            args=["/bin/sh", "-c", "exit %d" % i], cwd="/", env=["PATH=/bin"]), timeout=DEADLINE)
            for i in range(20)]
        for i, c in enumerate(calls):
            end = self.ask("Wait", pb.WaitRequest(pid=c.result().pid))
            self.assertEqual(end.exit_status, i)


class Control(ShimCase):
    def test_kill_by_pid_by_default_and_all(self):
        pid = self.running("trap 'exit 9' USR1; while :; do sleep 0.05; done")
        exec_pid = self.exec("/bin/sleep", "1000")
        self.ask("Kill", pb.KillRequest(signal=signal.SIGTERM, pid=exec_pid))
        self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=exec_pid)).exit_status, 143)
        other = self.exec("/bin/sleep", "1000")
        self.ask("Kill", pb.KillRequest(signal=signal.SIGKILL, all=True))
        self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=other)).exit_status, 137)
        self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=pid)).exit_status, 137)
        self.delete_all()

    def test_pid_zero_is_init(self):
        self.running()
        self.ask("Kill", pb.KillRequest(signal=signal.SIGKILL))
        self.assertEqual(self.ask("Wait", pb.WaitRequest()).exit_status, 137)

    def test_pause_and_resume(self):
        pid = self.running()
        self.ask("Pause", pb.PauseRequest())
        self.assertEqual(self.ask("Inspect", pb.InspectRequest()).phase, pb.PHASE_PAUSED)
        self.ask("Resume", pb.ResumeRequest())
        self.assertEqual(self.ask("Inspect", pb.InspectRequest()).phase, pb.PHASE_RUNNING)
        self.assertEqual([e.event.type for e in self.watch(4)],
                         [pb.CREATED, pb.STARTED, pb.PAUSED, pb.RESUMED])
        self.assertEqual(self.ask("State", pb.StateRequest()).processes[0].pid, pid)

    def test_pids_and_stats(self):
        pid = self.running("sleep 1000 & exec sleep 1000")
        wait_until(lambda: len(self.ask("ListPids", pb.ListPidsRequest()).pids) == 2)
        pids = {p.pid: p.known for p in self.ask("ListPids", pb.ListPidsRequest()).pids}
        self.assertEqual(pids.pop(pid), True)
        self.assertEqual(list(pids.values()), [False])
        stats = self.ask("Stats", pb.StatsRequest())
        self.assertGreater(stats.read_at_ns, 0)
        if stats.HasField("memory"):
            self.assertGreater(stats.memory.usage_bytes, 0)
        if stats.HasField("pids"):
            self.assertEqual(stats.pids.current, 2)

    def test_update(self):
        self.running()
        self.ask("Update", pb.UpdateRequest(pids_limit=55))
        stats = self.ask("Stats", pb.StatsRequest())
        if stats.HasField("pids"):
            self.assertEqual(stats.pids.limit, 55)

    def test_a_process_that_takes_too_much_memory_is_an_event(self):
        pid = self.running("/bin/busybox tail /dev/zero; echo $? >/status; exec sleep 1000",
                           memory=32 << 20)
        stats = self.ask("Stats", pb.StatsRequest())
        if not stats.HasField("memory"):
            if os.environ.get("STRICT"):
                self.fail("the container's cgroup has no memory controller")
            self.skipTest("needs the memory controller in the container's cgroup")
        self.assertEqual(stats.memory.limit_bytes, 32 << 20)
        events = self.watch(3)
        self.assertEqual([e.event.type for e in events], [pb.CREATED, pb.STARTED, pb.OOM])
        path = os.path.join(self.dir, "bundle/rootfs/status")
        wait_until(lambda: os.path.exists(path) and os.path.getsize(path) > 0)
        with open(path, encoding="utf-8") as f:
            self.assertEqual(f.read(), "137\n")
        self.assertEqual(self.ask("State", pb.StateRequest()).processes[0].pid, pid)
        self.delete_all()

    def test_waiting_ends_with_its_deadline_and_harms_nobody(self):
        pid = self.running()
        with self.assertRaises(grpc.RpcError) as caught:
            self.shim.Wait(pb.WaitRequest(pid=pid), timeout=0.2)
        self.assertEqual(caught.exception.code(), CODE.DEADLINE_EXCEEDED)
        waits = [self.shim.Wait.future(pb.WaitRequest(pid=pid), timeout=DEADLINE)
                 for _ in range(10)]
        self.ask("Kill", pb.KillRequest(signal=signal.SIGKILL))
        self.assertEqual([w.result().exit_status for w in waits], [137] * 10)


class Refused(ShimCase):
    def test_before_there_is_a_container(self):
        for method, request in (
                ("Start", pb.StartRequest()), ("Exec", pb.ExecRequest(args=["/bin/true"])),
                ("Pause", pb.PauseRequest()), ("Resume", pb.ResumeRequest()),
                ("Delete", pb.DeleteRequest(pid=1)), ("Kill", pb.KillRequest(signal=9)),
                ("ListPids", pb.ListPidsRequest()), ("Stats", pb.StatsRequest()),
                ("Update", pb.UpdateRequest(pids_limit=5)), ("Wait", pb.WaitRequest()),
                ("CloseIO", pb.CloseIORequest())):
            with self.subTest(method):
                with self.assertRaises(grpc.RpcError) as caught:
                    self.ask(method, request)
                self.assertIn(caught.exception.code(), (CODE.NOT_FOUND, CODE.FAILED_PRECONDITION))

    def test_what_makes_no_sense(self):
        pid = self.running()
        self.fails(CODE.ALREADY_EXISTS, "Create", pb.CreateRequest(
            id="other", bundle=os.path.join(self.dir, "bundle")))
        self.fails(CODE.FAILED_PRECONDITION, "Start", pb.StartRequest())
        for method, request, code in (
                ("Kill", pb.KillRequest(signal=0, pid=pid), CODE.INVALID_ARGUMENT),
                ("Kill", pb.KillRequest(signal=999, pid=pid), CODE.INVALID_ARGUMENT),
                ("Pty", pb.PtyRequest(pid=0, width=1, height=1), CODE.INVALID_ARGUMENT),
                ("Pty", pb.PtyRequest(pid=pid, width=1 << 20, height=1), CODE.INVALID_ARGUMENT),
                ("Pty", pb.PtyRequest(pid=999999, width=1, height=1), CODE.NOT_FOUND),
                ("Exec", pb.ExecRequest(), CODE.INVALID_ARGUMENT),
                ("Delete", pb.DeleteRequest(pid=999999), CODE.NOT_FOUND),
                ("Wait", pb.WaitRequest(pid=999999), CODE.NOT_FOUND),
                ("CloseIO", pb.CloseIORequest(pid=999999), CODE.NOT_FOUND)):
            with self.subTest(method + str(request)):
                self.fails(code, method, request)

    def test_a_bundle_that_is_none(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.ask("Create", pb.CreateRequest(id=self.id, bundle=self.dir + "/none"))
        self.assertIn("none", caught.exception.details())
        self.running()  # and the shim is as good as before

    def test_a_fifo_that_is_not_there(self):
        bundle = os.path.join(self.dir, "bundle")
        make_bundle(bundle, "exit 0")
        with self.assertRaises(grpc.RpcError) as caught:
            self.ask("Create", pb.CreateRequest(id=self.id, bundle=bundle,
                                                stdout=self.dir + "/nothing"))
        self.assertEqual(caught.exception.code(), CODE.NOT_FOUND)
        self.assertIn("nothing", caught.exception.details())


def has_ended(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
            return f.read().rsplit(") ", 1)[1][0] in "ZX"
    except OSError:
        return True


class Again(ShimCase):
    def kill_shim(self):
        self.channel.close()
        self.process.kill()
        self.process.wait()
        os.unlink(self.path)  # so that start_shim() waits for the new one

    def test_a_killed_shim_leaves_its_container_to_the_next(self):
        pid = self.running()
        self.kill_shim()
        os.kill(pid, 0)
        self.start_shim()
        self.assertEqual(self.ask("State", pb.StateRequest()).processes[0].pid, pid)
        e = self.exec("/bin/sh", "-c", "exit 6")
        self.assertEqual(self.ask("Wait", pb.WaitRequest(pid=e)).exit_status, 6)
        self.ask("Kill", pb.KillRequest(signal=signal.SIGKILL))
        end = self.ask("Wait", pb.WaitRequest(pid=pid))
        self.assertTrue(end.lost or end.exit_status == 137)
        self.ask("Delete", pb.DeleteRequest(pid=pid))
        self.ask("Exit", pb.ExitRequest())
        self.assertEqual(self.process.wait(timeout=DEADLINE), 0)

    def busy(self):
        """Execs until the shim is gone: with stdin and output, with a terminal, with neither."""
        n = 0
        try:
            while True:
                n += 1
                kw = ({}, {"stdin": self.path_in, "stdout": self.path_out},
                      {"stdin": self.path_in, "terminal": True})[n % 3]
                pid = self.exec("/bin/true", **kw)
                self.ask("Wait", pb.WaitRequest(pid=pid))
                self.ask("Delete", pb.DeleteRequest(pid=pid))
        except (grpc.RpcError, ValueError):  # ValueError: the channel is closed
            pass

    def keeper(self):
        for entry in os.listdir("/proc"):
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as f:
                    if f.read() == b"contentfs-shim\0--keeper\0" and \
                            os.readlink("/proc/%s/cwd" % entry) == self.state:
                        return int(entry)
            except OSError:
                continue
        return 0

    def test_what_nobody_has_read_is_kept_as_long_as_there_may_be_a_next_shim(self):
        path = self.fifo("o")  # nobody reads it
        pid = self.running("while :; do echo 0123456789; done", terminal=True, stdout=path)
        wait_until(lambda: not select.select([], self.fds[-1:], [], 0)[1])  # then the terminal fills
        keeper = self.keeper()
        self.assertGreater(keeper, 0)
        self.addCleanup(lambda: has_ended(keeper) or os.kill(keeper, signal.SIGKILL))
        self.kill_shim()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: has_ended(pid))
        os.kill(keeper, 0)
        shutil.rmtree(self.state)
        wait_until(lambda: has_ended(keeper))

    def test_killed_at_random_moments_it_takes_back_a_container_and_leaves_nothing(self):
        self.path_in, self.path_out = self.fifo("in"), self.fifo("out")
        pid = self.running()
        for _ in range(int(os.environ.get("ROUNDS", "6"))):
            thread = threading.Thread(target=self.busy)
            thread.start()
            time.sleep(random.uniform(0, 0.4))
            self.kill_shim()
            thread.join()
            os.kill(pid, 0)
            self.start_shim()
            self.assertEqual(self.ask("State", pb.StateRequest()).processes[0].pid, pid)
        groups = os.path.join("/proc", str(pid), "cgroup")
        with open(groups, encoding="utf-8") as f:
            own = [line.rsplit(":", 1)[1].strip() for line in f if self.id in line]
        self.delete_all()
        self.assertEqual(os.listdir(self.state), [])
        left = [base for path in own for base, _, _ in os.walk("/sys/fs/cgroup")
                if base.endswith(path)]
        self.assertEqual(left, [])
        self.assertEqual([c for c in os.listdir("/run/runc") if c == self.id], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
