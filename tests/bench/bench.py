"""What the bench-* programs share: a mounted store, interleaved runs, medians, ratios.

Every program takes --quick (small sizes, few runs: to see that it works, not to measure),
--runs N, --dir DIR (on the disk to be measured; default /var/tmp) and --bin DIR (default the
release build). As root.
"""
import argparse
import atexit
import json
import mmap
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

REPO = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))


def arguments(description, runs, **more):
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--quick", action="store_true", help="small sizes and few runs")
    p.add_argument("--runs", type=int, help="runs of each (default %d)" % runs)
    p.add_argument("--dir", default="/var/tmp", help="where to work (default /var/tmp)")
    p.add_argument("--bin", default=os.path.join(REPO, "build/release/bin"))
    for name, (default, text) in more.items():
        p.add_argument("--" + name.replace("_", "-"), default=default, type=type(default), help=text)
    a = p.parse_args()
    a.runs = a.runs or (2 if a.quick else runs)
    if os.geteuid() != 0:
        sys.exit("needs root: drops caches, mounts with passthrough")
    if not os.path.exists(os.path.join(a.bin, "contentfs")):
        sys.exit("no contentfs in %s: cmake --preset release && cmake --build --preset release" % a.bin)
    a.work = tempfile.mkdtemp(prefix="contentfs-bench.", dir=a.dir)
    os.chmod(a.work, 0o755)
    atexit.register(lambda: shutil.rmtree(a.work, ignore_errors=True))
    # A signal ends the program through its atexit handlers, which take mounts away.
    for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(s, lambda n, _: sys.exit(128 + n))
    print("# %s, Linux %s, %s, %d cores%s" % (
        cpu(), platform.release(), fs_type(a.work), os.cpu_count(), ", QUICK" if a.quick else ""))
    return a


def cpu():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def fs_type(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True,
                          check=True).stdout.strip()


def run(command, **kw):
    """Seconds that it takes."""
    start = time.monotonic()
    subprocess.run(command, check=True, stdin=kw.pop("stdin", subprocess.DEVNULL),
                   stdout=kw.pop("stdout", subprocess.DEVNULL),
                   stderr=kw.pop("stderr", subprocess.DEVNULL), **kw)
    return time.monotonic() - start


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3\n")


def compact_memory():
    """Pages of 4 KiB that lie side by side are read a fifth faster than those in pieces. Who caches
    first after other work gets the pieces: put them together first, for all alike."""
    drop_caches()
    with open("/proc/sys/vm/compact_memory", "w") as f:
        f.write("1\n")


def touch_memory(size):
    """Free memory that a virtual machine has given back to its host costs a fault for each page, a
    second per GB, to whoever is next: touch it first, so that nobody pays for it."""
    with open("/proc/meminfo") as f:
        free = next(int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable"))
    mmap.mmap(-1, max(1 << 20, min(size, free // 2)),
              flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


class Mount:
    """contentfs -f on ROOT and a mount point of its own; prefix: a command to run it under."""

    def __init__(self, a, root, *options, prefix=(), name="mnt"):
        self.mnt = os.path.join(a.work, name)
        self.prefix = list(prefix)
        os.makedirs(self.mnt, exist_ok=True)
        if self.prefix:
            os.chown(self.mnt, 65534, 65534)
        r, w = os.pipe()
        start = time.monotonic()
        self.process = subprocess.Popen(
            self.prefix + [os.path.join(a.bin, "contentfs"), "-f", *options, root, self.mnt],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(a.work, "contentfs.log"), "ab"),
            pass_fds=[w], env={**os.environ, "READY_FD": str(w)})
        os.close(w)
        ready = os.read(r, 1)
        self.start_seconds = time.monotonic() - start
        os.close(r)
        atexit.register(self.end)
        if ready != b"1":
            with open(os.path.join(a.work, "contentfs.log")) as f:
                sys.exit("contentfs did not start: " + f.read())
        status = subprocess.run(self.prefix + [os.path.join(a.bin, "contentfs"), "--status", self.mnt],
                                capture_output=True, text=True, check=True).stdout
        self.status = dict(line.split(" ", 1) for line in status.splitlines() if " " in line)

    def rss(self):
        """Resident MB of the daemon."""
        with open("/proc/%s/status" % self.status["pid"]) as f:
            for line in f:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) * 1024 / 1e6
        return 0.0

    def end(self):
        if self.process.poll() is None:
            subprocess.run(self.prefix + ["fusermount3", "-u", self.mnt], check=False,
                           stderr=subprocess.DEVNULL)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                subprocess.run(["umount", "-l", self.mnt], check=False)
                self.process.kill()
                self.process.wait()


def containerd(a):
    """A containerd on sockets and directories of its own, with no plugin that needs more than
    this machine has: the beginning of a ctr command line that talks to it."""
    home = os.path.join(a.work, "containerd")
    os.mkdir(home)
    sock = os.path.join(home, "sock")
    with open(os.path.join(home, "config.toml"), "w") as f:
        f.write('version = 2\nroot = "%s/root"\nstate = "%s/state"\n'
                'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",'
                ' "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",'
                ' "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]\n'
                '[grpc]\n  address = "%s"\n[ttrpc]\n  address = "%s.ttrpc"\n[debug]\n'
                '  address = "%s.debug"\n  level = "error"\n' % (home, home, sock, sock, sock))
    daemon = subprocess.Popen(["containerd", "-c", os.path.join(home, "config.toml")],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(os.path.join(home, "log"), "w"))

    def end():
        daemon.terminate()
        daemon.wait()
    atexit.register(end)
    base = ["ctr", "--address", sock]
    deadline = time.monotonic() + 30
    while subprocess.run([*base, "content", "ls"], capture_output=True, check=False).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > deadline:
            sys.exit("containerd does not start: " + open(os.path.join(home, "log")).read()[-500:])
        time.sleep(0.1)
    return base


def as_nobody(a):
    """A command prefix: nobody, in a mount namespace with a /dev/fuse that it may open."""
    dev = os.path.join(a.work, "dev")
    os.makedirs(dev, exist_ok=True)
    holder = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c",
         'mount -t tmpfs -o mode=755 dev "$0" && mknod "$0/fuse" c 10 229 && chmod 666 "$0/fuse" &&'
         ' mount --bind "$0/fuse" /dev/fuse && echo ready && exec sleep 100000', dev],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    atexit.register(lambda: (holder.kill(), holder.wait()))
    if holder.stdout.readline() != b"ready\n":
        sys.exit("no mount namespace for an ordinary user")
    return ["nsenter", "-m", "-t", str(holder.pid), "setpriv", "--reuid=65534", "--regid=65534",
            "--clear-groups"]


def interleaved(runs, contestants):
    """{name: function -> number}: each in turn, runs times; {name: [numbers]}."""
    got = {name: [] for name in contestants}
    for i in range(runs):
        order = list(contestants)
        if i % 2:
            order.reverse()
        for name in order:
            got[name].append(contestants[name]())
    return got


def median(numbers):
    return statistics.median(numbers)


results = []


def report(what, ours, theirs, unit, bar=None, more_is_better=True, digits=0):
    """One line: medians, their ratio, the bar. ours and theirs: lists of numbers."""
    a, b = median(ours), median(theirs)
    ratio = a / b if b else float("inf")
    verdict = ""
    if bar is not None:
        good = ratio >= bar if more_is_better else ratio <= bar
        verdict = "%s %g: %s" % (">=" if more_is_better else "<=", bar, "ok" if good else "MISSED")
    print("%-58s %9.*f  /%9.*f %-5s = %6.3f  %s" % (what, digits, a, digits, b, unit, ratio, verdict),
          flush=True)
    results.append({"what": what, "ours": a, "theirs": b, "unit": unit, "ratio": ratio, "bar": bar})


def value(what, numbers, unit, bar=None, digits=1):
    """One line: a median that has to stay under the bar."""
    a = median(numbers)
    verdict = "" if bar is None else "<= %g: %s" % (bar, "ok" if a <= bar else "MISSED")
    print("%-58s %9.*f %s  %s" % (what, digits, a, unit, verdict), flush=True)


def random_file(path, size):
    with open(path, "wb") as f:
        left = size
        while left > 0:
            n = min(left, 4 << 20)
            f.write(os.urandom(n))
            left -= n
    return path


def fio(prefix, path, **options):
    """MB/s of random 4 KiB reads."""
    out = subprocess.run(
        [*prefix, "fio", "--name=r", "--filename=" + path, "--rw=randread", "--bs=4k",
         "--ioengine=psync", "--readonly", "--allow_file_create=0", "--output-format=json",
         *("--%s=%s" % (k, v) for k, v in options.items())],
        check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/tmp").stdout
    return json.loads(out[out.index("{"):])["jobs"][0]["read"]["bw_bytes"] / 1e6
