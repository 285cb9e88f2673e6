#!/usr/bin/python3
"""A shim without containers, for tests of shimctl: processes of this machine, fifos and terminals
as the protocol says, served by python3-grpcio.

usage: fake_shim.py PROTO_DIR SOCKET

Create takes the process of <bundle>/config.json. Calls are written to stderr, one a line.
"""
import concurrent.futures
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading

import grpc

WORK = tempfile.mkdtemp(prefix="fake-shim-")
subprocess.run(["protoc", "--proto_path=" + sys.argv[1], "--python_out=" + WORK,
                os.path.join(sys.argv[1], "shim.proto")], check=True)
sys.path.insert(0, WORK)
import shim_pb2 as pb  # noqa: E402

DONE = threading.Event()


class Process:
    def __init__(self, request, args, cwd=None, env=None, wait=False):
        self.terminal = request.terminal
        self.paths = (request.stdin, request.stdout, request.stderr)
        self.fds = [os.open(p or "/dev/null", os.O_RDWR) for p in self.paths]
        # The process reads from a descriptor that does not keep its stdin open for writing.
        self.child_in = os.open(self.paths[0] or "/dev/null", os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self.child_in, True)
        self.start_r, self.start_w = os.pipe()
        self.status = None
        self.ended = threading.Event()
        self.drained = threading.Event()
        master, slave = pty.openpty() if self.terminal else (-1, -1)
        self.master = master
        self.pid = os.fork()
        if self.pid == 0:
            self.child(args, cwd, env, slave)
        os.close(self.start_r)
        os.close(self.child_in)
        if not wait:
            self.start()
        if self.terminal:
            os.close(slave)
            threading.Thread(target=self.copy, args=(self.fds[0], master), daemon=True).start()
            threading.Thread(target=self.copy_out, daemon=True).start()
        threading.Thread(target=self.reap, daemon=True).start()

    def child(self, args, cwd, env, slave):
        try:
            os.close(self.start_w)
            os.setsid()
            if self.terminal:
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for i in range(3):
                os.dup2(slave if self.terminal else [self.child_in, *self.fds[1:]][i], i)
            if os.read(self.start_r, 1) != b"x":
                os._exit(127)
            for s in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
                signal.signal(s, signal.SIG_DFL)
            os.chdir(cwd or "/")
            os.closerange(3, 256)
            os.execvpe(args[0], args, dict(os.environ, **(env or {})))
        finally:
            os._exit(127)

    def start(self):
        os.write(self.start_w, b"x")
        os.close(self.start_w)

    def copy(self, from_fd, to_fd):
        try:
            while True:
                data = os.read(from_fd, 4096)
                if not data:
                    return
                os.write(to_fd, data)
        except OSError:
            pass

    def copy_out(self):
        self.copy(self.master, self.fds[1])
        self.drained.set()

    def reap(self):
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        if self.status < 0:
            self.status = 128 - self.status
        if self.terminal:
            self.drained.wait()
        for fd in self.fds[1:]:
            os.close(fd)
        self.ended.set()


class Service(grpc.GenericRpcHandler):
    def __init__(self):
        self.processes = []
        self.id = ""
        self.events = []

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        methods = pb.DESCRIPTOR.services_by_name["Shim"].methods_by_name
        handle = getattr(self, name, None)
        if handle is None or name not in methods:
            return None

        def logged(request, context):
            seconds = context.time_remaining()  # without a deadline: more than there will ever be
            print(name, str(request).replace("\n", " "),
                  "within %d s" % seconds if seconds < 1e6 else "", file=sys.stderr, flush=True)
            return handle(request, context)

        make = (grpc.unary_stream_rpc_method_handler if name in ("Watch", "Events")
                else grpc.unary_unary_rpc_method_handler)
        return make(logged, getattr(pb, methods[name].input_type.name).FromString,
                    lambda m: m.SerializeToString())

    def find(self, pid, context):
        for p in self.processes:
            if p.pid == pid or pid == 0:
                return p
        context.abort(grpc.StatusCode.NOT_FOUND, "process does not exist %d" % pid)

    def event(self, kind, pid, status=0):
        self.events.append(pb.WatchEvent(
            number=len(self.events) + 1, at_ns=1485000000 * 10 ** 9,
            event=pb.Event(id=self.id, type=kind, pid=pid, exit_status=status)))

    def Create(self, q, context):
        if self.processes:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "there is a container")
        try:
            with open(os.path.join(q.bundle, "config.json"), encoding="utf-8") as f:
                process = json.load(f)["process"]
        except OSError as e:
            context.abort(grpc.StatusCode.UNKNOWN, "fake-runc: " + str(e))
        self.id = q.id
        self.processes.append(Process(q, process["args"], wait=True))
        self.event(pb.CREATED, self.processes[0].pid)
        return pb.CreateResponse(pid=self.processes[0].pid)

    def Start(self, q, context):
        p = self.find(0, context)
        self.event(pb.STARTED, p.pid)
        p.start()
        return pb.Empty()

    def Exec(self, q, context):
        self.find(0, context)
        env = dict(e.split("=", 1) for e in q.env)
        p = Process(q, list(q.args), cwd=q.cwd, env=env)
        self.processes.append(p)
        self.event(pb.EXEC_ADDED, p.pid)
        return pb.ExecResponse(pid=p.pid)

    def Delete(self, q, context):
        p = self.find(q.pid, context)
        if p is self.processes[0] and not p.ended.is_set():
            os.kill(p.pid, signal.SIGKILL)
        p.ended.wait()
        self.processes.remove(p)
        return pb.DeleteResponse(exit_status=p.status)

    def Wait(self, q, context):
        p = self.find(q.pid, context)
        p.ended.wait()
        return pb.WaitResponse(exit_status=p.status, lost=p.status == 99)

    def Kill(self, q, context):
        os.kill(self.find(q.pid, context).pid, q.signal)
        return pb.Empty()

    def CloseIO(self, q, context):
        p = self.find(q.pid, context)
        fd, p.fds[0] = p.fds[0], os.open("/dev/null", os.O_RDWR)
        os.close(fd)
        return pb.Empty()

    def Pty(self, q, context):
        p = self.find(q.pid, context)
        if p.terminal:
            fcntl.ioctl(p.master, termios.TIOCSWINSZ,
                        struct.pack("HHHH", q.height, q.width, 0, 0))
        return pb.Empty()

    def State(self, q, context):
        return pb.StateResponse(id=self.id, processes=[
            pb.Process(pid=p.pid, state=pb.STOPPED if p.ended.is_set() else pb.RUNNING)
            for p in self.processes])

    def Inspect(self, q, context):
        return pb.InspectResponse(
            id=self.id, bundle="/b", runtime="runc", phase=pb.PHASE_RUNNING, shim_pid=os.getpid(),
            shim_version="0", processes=[pb.ProcessInfo(
                pid=p.pid, init=i == 0, phase=pb.PHASE_RUNNING, terminal=p.terminal,
                stdin=p.paths[0], stdout=p.paths[1], stderr=p.paths[2],
                exit=pb.WaitResponse(exit_status=p.status) if p.ended.is_set() else None)
                for i, p in enumerate(self.processes)])

    def ListPids(self, q, context):
        return pb.ListPidsResponse(pids=[pb.PidInfo(pid=p.pid, known=True)
                                         for p in self.processes if not p.ended.is_set()])

    def Stats(self, q, context):
        return pb.StatsResponse(read_at_ns=1, cpu=pb.CpuStats(usage_usec=1500000),
                                memory=pb.MemoryStats(usage_bytes=4096000),
                                pids=pb.PidsStats(current=2, limit=10))

    def Watch(self, q, context):
        yield from self.events[q.after:]

    def Exit(self, q, context):
        if self.processes:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "there is a container")
        DONE.set()
        return pb.Empty()


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers((Service(),))
    server.add_insecure_port("unix:" + sys.argv[2])
    server.start()
    DONE.wait()
    server.stop(1).wait()


main()
