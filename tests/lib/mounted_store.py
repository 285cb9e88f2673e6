"""A mounted store for a test: contentfs in front, its log beside it.

    m = MountedStore(directory, "--source", "127.0.0.1:1/app")    ready to use
    m.path(digest)   m.error(digest)   m.status("fills_active")   m.log()
    m.stop()         unmounts; what the daemon's end, its log and the store say is checked

Nothing is left behind where the test fails: stop() goes on to the end, then complains.
"""
import hashlib
import os
import select
import subprocess
import time

LIB = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(LIB))
BIN = os.environ.get("BIN", os.path.join(ROOT, "build/ci/bin"))
DEADLINE = 60


def wait_until(condition, what, seconds=DEADLINE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("in %d s still not: %s" % (seconds, what))
        time.sleep(0.01)


class MountedStore:
    def __init__(self, directory, *options, root=None):
        self.root = root or os.path.join(directory, "root")
        self.mnt = os.path.join(directory, "mnt")
        self.log_path = os.path.join(directory, "contentfs.log")
        os.makedirs(self.mnt)
        self.process = None
        r, w = os.pipe()
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "contentfs"), "-f", *options, self.root, self.mnt],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[w],
                env={**clean, "HOME": directory, "READY_FD": str(w)})
        os.close(w)
        ready = b""
        if select.select([r], [], [], DEADLINE)[0]:
            ready = os.read(r, 1)
        os.close(r)
        if ready != b"1":
            self.end()
            raise AssertionError("contentfs does not get ready: " + self.log())

    def path(self, digest):
        return os.path.join(self.mnt, "blobs/sha256", digest[7:])

    def local(self, digest):
        return os.path.join(self.root, "blobs/sha256", digest[7:])

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def active(self):
        with open(os.path.join(self.mnt, "active"), encoding="utf-8") as f:
            return f.read()

    def error(self, digest):
        """user.error of a blob, "" where there is none."""
        try:
            return os.getxattr(self.path(digest), "user.error").decode()
        except OSError:
            return ""

    def status(self, key):
        for line in os.getxattr(self.mnt, "user.contentfs.status").decode().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
        raise KeyError(key)

    def wait_idle(self):
        wait_until(lambda: self.status("fills_active") == 0, "no fill is active")

    def end(self):
        """Unmount, by force where it must be; the exit status, or what is wrong."""
        subprocess.run(["fusermount3", "-u", self.mnt], stderr=subprocess.DEVNULL, check=False)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "it does not end"
        finally:
            subprocess.run(["umount", "-l", self.mnt], stderr=subprocess.DEVNULL, check=False)

    def stop(self):
        status = self.end()
        said = self.log()
        if status != 0:
            raise AssertionError("contentfs ended with %s: %s" % (status, said))
        for word in ("Sanitizer", "runtime error:"):
            if word in said:
                raise AssertionError(said)
        self.check()

    def check(self):
        """Every name under blobs is the digest of its bytes."""
        blobs = os.path.join(self.root, "blobs/sha256")
        for name in os.listdir(blobs):
            with open(os.path.join(blobs, name), "rb") as f:
                got = hashlib.sha256(f.read()).hexdigest()
            if got != name:
                raise AssertionError("blob %s is named and wrong" % name)
