#!/usr/bin/python3
"""Cut the power at each fsync, rename and link of an ingest, and look at what the disk holds.

  power_loss.py WORK_DIR dist|mount FLAG EXT4_OPTIONS

The store is on an ext4 in a loop image. Ingest after ingest the n-th call shuts the file system
down (powercut.c), for n = 1, 2, ... until one ingest gets through uncut. After each cut it is
mounted again: every name under blobs is the digest of its bytes, every acknowledged blob is
there, and what is unfinished does not stand in the way of the same ref. Exits 1 otherwise.
"""
import hashlib
import os
import subprocess
import sys

BIN, TESTBIN = os.environ["BIN"], os.environ["TESTBIN"]
work, tool, flag, options = sys.argv[1:5]
image, disk, mnt = (os.path.join(work, n) for n in ("image", "disk", "mnt"))
root = os.path.join(disk, "root")
mark = os.path.join(work, "mark")
src = os.path.join(work, "src")
promised = set()


def call(*command, **kw):
    return subprocess.run(command, stdin=kw.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.DEVNULL, stderr=kw.pop("stderr", None), check=False,
                          timeout=60, **kw).returncode


def must(*command):
    if call(*command) != 0:
        sys.exit("failed: " + " ".join(command))


def environment(n):
    return {**os.environ, "LD_PRELOAD": TESTBIN + "/libpowercut.so", "POWERCUT_DIR": disk,
            "POWERCUT_AT": str(n), "POWERCUT_FLAG": flag, "POWERCUT_MARK": mark}


def ingest(ref, env):
    """Whether it was acknowledged."""
    with open(src, "rb") as f:
        if tool == "dist":
            return call(BIN + "/dist", "ingest", "--root", root, ref, stdin=f, env=env,
                        stderr=subprocess.DEVNULL) == 0
    r, w = os.pipe()
    daemon = subprocess.Popen([BIN + "/contentfs", "-f", root, mnt], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[w],
                              env={**env, "READY_FD": str(w)})
    os.close(w)
    up = os.read(r, 1) == b"1"
    os.close(r)
    good = up and call("cp", src, os.path.join(mnt, "ingest", ref), stderr=subprocess.DEVNULL) == 0
    daemon.kill()
    daemon.wait()
    call("umount", "-l", mnt, stderr=subprocess.DEVNULL)
    return good


def content(n):
    data = b"%d %s " % (n, tool.encode()) + os.urandom(300000)
    with open(src, "wb") as f:
        f.write(data)
    return hashlib.sha256(data).hexdigest()


def check(n):
    blobs = os.path.join(root, "blobs/sha256")
    names = set(os.listdir(blobs)) if os.path.isdir(blobs) else set()
    for name in names:
        with open(os.path.join(blobs, name), "rb") as f:
            if hashlib.sha256(f.read()).hexdigest() != name:
                sys.exit("cut %d: %s is named and wrong" % (n, name))
    if not promised <= names:
        sys.exit("cut %d: acknowledged and missing: %s" % (n, promised - names))


def remount():
    must("umount", disk)
    must("mount", "-o", "loop," + options, image, disk)


for d in (disk, mnt):
    os.makedirs(d, exist_ok=True)
must("truncate", "-s", "96M", image)
must("mkfs.ext4", "-q", image)
must("mount", "-o", "loop," + options, image, disk)
uncut = dict(os.environ)
cuts = acknowledged = n = 0
try:
    # One finished ingest first: what a cut must never take away.
    promised.add(content(0))
    if not ingest("first", uncut):
        sys.exit("an ingest fails without any cut")
    while True:
        n += 1
        hex_ = content(n)
        ref = "ref%d" % n + ("@sha256:" + hex_ if n % 2 else "")
        good = ingest(ref, environment(n))
        if good:
            promised.add(hex_)
            acknowledged += 1
        cut = os.path.exists(mark)
        remount()
        check(n)
        if not cut:
            if not good:
                sys.exit("an ingest fails without a cut")
            break
        os.unlink(mark)
        cuts += 1
        # The same ref, the same bytes, once more: whatever the cut has left of it.
        if not ingest(ref, uncut):
            sys.exit("cut %d: the ref cannot be written again" % n)
        promised.add(hex_)
        check(n)
finally:
    call("umount", "-l", mnt, stderr=subprocess.DEVNULL)
    call("umount", "-l", disk)
print("%s, flag %s, %s: %d cuts, %d acknowledged before one" % (tool, flag, options, cuts,
                                                               acknowledged))
if cuts < 5:
    sys.exit("too few cuts: nothing was tested")
