#!/usr/bin/python3
"""Kill contentfs, dist or a writer with SIGKILL at random moments of many ingests.

  crash_mount.py WORK_DIR INGESTS [SEED]

After each kill: every name under blobs is the digest of its bytes, every ingest that was
acknowledged (exit status 0) is a blob, every unfinished ref can be resumed to its blob or
removed. Prints what it saw; exits 1 at the first thing that is not so.
"""
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time

BIN = os.environ["BIN"]


class Crash:
    def __init__(self, work, seed):
        self.rng = random.Random(seed)
        self.root = os.path.join(work, "root")
        self.mnt = os.path.join(work, "mnt")
        self.log = open(os.path.join(work, "contentfs.log"), "ab")
        self.src = os.path.join(work, "src")
        self.daemon = None
        self.promised = set()   # digests whose ingest was acknowledged
        self.content = {}       # ref -> (path, digest)
        self.n = self.acknowledged = self.cut = self.resumed = self.removed = 0
        self.rounds = {"daemon": 0, "dist": 0, "writer": 0}
        for d in (self.mnt, self.src):
            os.makedirs(d, exist_ok=True)

    def start(self):
        r, w = os.pipe()
        self.daemon = subprocess.Popen(
            [BIN + "/contentfs", "-f", self.root, self.mnt], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, pass_fds=[w], env={**os.environ, "READY_FD": str(w)})
        os.close(w)
        ready = os.read(r, 1)
        os.close(r)
        if ready != b"1":
            sys.exit("contentfs did not start after a crash")

    def unmount(self):
        subprocess.run(["umount", "-l", self.mnt], stderr=subprocess.DEVNULL, check=False)

    def kill(self, process):
        process.send_signal(signal.SIGKILL)
        process.wait()

    def new_content(self):
        self.n += 1
        size = self.rng.choice([0, 1, 4096, 100000, 1 << 20, 4 << 20])
        data = b"%d " % self.n + self.rng.randbytes(size)
        path = os.path.join(self.src, str(self.n))
        with open(path, "wb") as f:
            f.write(data)
        hex_ = hashlib.sha256(data).hexdigest()
        ref = "ref%d" % self.n
        if self.rng.random() < 0.5:
            ref += "@sha256:" + hex_
        self.content[ref] = (path, hex_)
        return ref, path, hex_

    def begin(self, by_dist):
        ref, path, hex_ = self.new_content()
        if by_dist:
            p = subprocess.Popen([BIN + "/dist", "ingest", "--root", self.root, ref],
                                 stdin=open(path, "rb"), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        else:
            p = subprocess.Popen(["cp", path, os.path.join(self.mnt, "ingest", ref)],
                                 stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return p, ref, hex_, by_dist

    def round(self):
        victim = self.rng.choice(["daemon", "daemon", "dist", "writer"])
        self.rounds[victim] += 1
        jobs = [self.begin(by_dist=(victim == "dist" or self.rng.random() < 0.2))
                for _ in range(self.rng.randrange(2, 7))]
        time.sleep(self.rng.random() * self.rng.choice([0.004, 0.02, 0.06]))  # the random moment
        if victim == "daemon":
            self.kill(self.daemon)
            if self.rng.random() < 0.3:
                self.kill(jobs[0][0])
            self.unmount()
        else:
            for p, _, _, by_dist in jobs:
                if by_dist == (victim == "dist") and self.rng.random() < 0.7:
                    p.send_signal(signal.SIGKILL)
        for p, ref, hex_, _ in jobs:
            if p.wait(timeout=60) == 0:
                self.promised.add(hex_)
                self.acknowledged += 1
            else:
                self.cut += 1
        self.check()
        if victim == "daemon":
            self.start()
        self.settle()
        for _, ref, _, _ in jobs:
            os.unlink(self.content.pop(ref)[0])

    def check(self):
        """The store itself, with no daemon asked."""
        blobs = os.path.join(self.root, "blobs/sha256")
        names = set(os.listdir(blobs))
        for name in names:
            with open(os.path.join(blobs, name), "rb") as f:
                got = hashlib.sha256(f.read()).hexdigest()
            if not re.fullmatch("[0-9a-f]{64}", name) or got != name:
                sys.exit("blob %s is named and wrong (%s)" % (name, got))
        if not self.promised <= names:
            sys.exit("acknowledged and missing: %s" % (self.promised - names))

    def settle(self):
        """Every ref that is left is resumed or removed; then there are no more."""
        ingest = os.path.join(self.mnt, "ingest")
        for ref in os.listdir(ingest):
            if ref not in self.content:
                sys.exit("a ref that nobody made: %s" % ref)
            path, hex_ = self.content[ref]
            name = os.path.join(ingest, ref)
            if self.rng.random() < 0.5:
                self.patiently(lambda: os.unlink(name))
                self.removed += 1
                continue
            with open(path, "rb") as f:
                f.seek(os.stat(name).st_size)
                rest = f.read()
            out = self.patiently(lambda: os.open(name, os.O_WRONLY | os.O_APPEND))
            while rest:
                rest = rest[os.write(out, rest):]
            if os.path.getsize(path) == os.fstat(out).st_size:
                os.write(out, b"")
            os.close(out)
            self.resumed += 1
            if os.path.exists(name):
                # Whole already when it was cut: touched, not written, so still open to be ended.
                os.unlink(name)
            elif not os.path.exists(os.path.join(self.mnt, "blobs/sha256", hex_)):
                sys.exit("resumed %s, but its blob is not there" % ref)
        left = os.listdir(ingest)
        if left:
            sys.exit("refs that stay: %s" % left)
        # What is checked need not be hashed in each round to come.
        blobs = os.path.join(self.mnt, "blobs/sha256")
        if len(os.listdir(blobs)) > 40:
            for name in os.listdir(blobs):
                os.unlink(os.path.join(blobs, name))
            self.promised.clear()

    def patiently(self, call):
        """A killed writer's file is released some moments later: EBUSY until then."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return call()
            except OSError as e:
                if e.errno != 16 or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def main():
    work, ingests = sys.argv[1], int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else int.from_bytes(os.urandom(4), "big")
    print("seed %d" % seed, flush=True)
    c = Crash(work, seed)
    c.start()
    try:
        while c.n < ingests:
            c.round()
        c.daemon.terminate()
        if c.daemon.wait(timeout=60) != 0:
            sys.exit("contentfs ended with status %d" % c.daemon.returncode)
    finally:
        if c.daemon.poll() is None:
            c.kill(c.daemon)
        c.unmount()
    print("ingests %d, acknowledged %d, cut %d, resumed %d, removed %d, kills %s"
          % (c.n, c.acknowledged, c.cut, c.resumed, c.removed, c.rounds))
    if c.acknowledged < ingests / 10 or c.cut < ingests / 10 or c.resumed == 0 or c.removed == 0:
        sys.exit("the kills did not hit: nothing was tested")


main()
