"""What the tests of dist apply share: a directory to unpack into, and a canary around it.

The directory is <t>/world/root. Everything else below <t>/world is the canary: an outside world with
names that layers aim at, walked before and after, which must not change by a byte, a mode or a
time.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from make_layer import Layer
from tree_walk import differences, walk

BIN = os.environ["BIN"]
DIST = os.path.join(BIN, "dist")
TIMEOUT = 60


def lacking(what):
    print("needs " + what, file=sys.stderr)
    sys.exit(1 if os.environ.get("STRICT") else 77)


def require_root():
    if os.geteuid() != 0:
        lacking("root")


class ApplyCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.t = tempfile.mkdtemp(prefix="contentfs-test.")
        self.addCleanup(shutil.rmtree, self.t, ignore_errors=True)
        self.world = os.path.join(self.t, "world")
        self.root = os.path.join(self.world, "root")
        self.outside = os.path.join(self.world, "outside")
        os.makedirs(self.root)
        os.makedirs(os.path.join(self.outside, "etc"))
        os.mkdir(os.path.join(self.world, "root-evil"))
        for path in ("outside/etc/passwd", "outside/file", "file", "etc", "root-evil/file"):
            with open(os.path.join(self.world, path), "w", encoding="ascii") as f:
                f.write("the canary's " + path)
            os.chmod(os.path.join(self.world, path), 0o640)
        self.n = 0

    def canary(self):
        """All of the world but the root, whose own name must stay too."""
        tree = walk(self.world, without=(b"root",))
        self.assertEqual(tree[b"root"]["type"], "dir")
        del tree[b"root"]
        return tree

    def run_apply(self, layer, *options, data=None, packing="plain"):
        """The finished process; the canary is held against what it was."""
        before = self.canary()
        if layer is not None:
            data = layer.bytes(packing)
        done = subprocess.run([DIST, "apply", *options, self.root], input=data, capture_output=True,
                              timeout=TIMEOUT, check=False)
        self.assertEqual(differences(before, self.canary()), [])
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done

    def apply(self, layer, *options, **kw):
        done = self.run_apply(layer, *options, **kw)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refuse(self, layer, text, *options, **kw):
        """It fails, in one line that holds text."""
        done = self.run_apply(layer, *options, **kw)
        self.assertEqual(done.returncode, 1, done.stderr)
        errors = done.stderr.decode(errors="replace")
        lines = [s for s in errors.splitlines() if not s.startswith("warn ")]
        self.assertEqual(len(lines), 1, errors)
        self.assertIn(text, errors)
        return done

    def path(self, name):
        return os.path.join(self.root, name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def lexists(self, name):
        return os.path.lexists(self.path(name))

    def names(self, sub=""):
        return sorted(os.listdir(self.path(sub)))

    def lower(self, *names):
        """A lower layer with these files (or, with a slash at the end, directories)."""
        layer = Layer()
        for name in names:
            if name.endswith("/"):
                layer.dir(name)
            else:
                layer.file(name, b"lower " + name.encode())
        self.apply(layer)
