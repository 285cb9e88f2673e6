#!/usr/bin/python3
"""Layers that try to get out of the directory they are applied to, and somebody who helps them.

Each case says what has to come of it inside; that nothing changes outside is held by
ApplyCase.run_apply() for every layer. Needs root; $BIN/dist.
"""
import os
import stat
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from apply_case import DIST, TIMEOUT, ApplyCase, require_root  # noqa: E402
from make_layer import Layer  # noqa: E402
from tree_walk import differences  # noqa: E402

require_root()


class Symlinks(ApplyCase):
    def test_through_an_absolute_link(self):
        self.apply(Layer().symlink("lnk", self.outside).file("lnk/pwn", b"in"))
        self.assertEqual(self.read(self.outside.lstrip("/") + "/pwn"), b"in")

    def test_through_a_link_up_and_out(self):
        self.apply(Layer().symlink("lnk", "../../../outside").file("lnk/pwn", b"in"))
        self.assertEqual(self.read("outside/pwn"), b"in")

    def test_through_several_absolute_links(self):
        self.apply(Layer().dir("etc").symlink("a", "/b").symlink("b", self.outside)
                   .symlink("c", "/a/etc").file("c/pwn", b"in"))
        self.assertEqual(self.read(self.outside.lstrip("/") + "/etc/pwn"), b"in")

    def test_through_several_relative_links(self):
        self.apply(Layer().dir("x").symlink("x/up", "..").symlink("y", "x/up/../..")
                   .symlink("z", "y/outside").file("z/pwn", b"in"))
        self.assertEqual(self.read("outside/pwn"), b"in")

    def test_an_empty_file_over_a_link_replaces_the_link(self):
        self.apply(Layer().symlink("lnk", self.outside + "/file").file("lnk", b""))
        self.assertEqual(self.read("lnk"), b"")
        self.assertFalse(os.path.islink(self.path("lnk")))

    def test_a_link_to_the_parent_is_followed_within(self):
        self.apply(Layer().symlink("up", "..").file("up/pwn", b"in"))
        self.assertEqual(self.read("pwn"), b"in")

    def test_a_name_that_is_the_parent(self):
        self.apply(Layer().symlink("..", self.outside).dir("../..", mode=0o700).file("/", b"x"))
        self.assertEqual(self.names(), [])
        self.assertEqual(stat.S_IMODE(os.stat(self.root).st_mode), 0o755)

    def test_a_link_with_an_empty_name(self):
        self.apply(Layer().symlink("", self.outside).symlink(".", self.outside).file("a", b"1"))
        self.assertEqual(self.names(), ["a"])

    def test_a_link_whose_name_ends_in_a_slash(self):
        self.apply(Layer().symlink("lnk/", self.outside).file("lnk/pwn", b"in"))
        self.assertEqual(self.read(self.outside.lstrip("/") + "/pwn"), b"in")

    def test_a_link_that_is_its_own_parent(self):
        self.refuse(Layer().symlink("a", "a/b").file("a/pwn"), "a/pwn")
        self.refuse(Layer().symlink("a", "b").symlink("b", "a").file("a/pwn"), "a/pwn")

    def test_a_dangling_parent_is_made_within(self):
        self.apply(Layer().symlink("lnk", "/not/there").file("lnk/file", b"in"))
        self.assertEqual(self.read("not/there/file"), b"in")
        self.assertTrue(os.path.islink(self.path("lnk")))

    def test_targets_stay_as_they_are(self):
        for n, target in enumerate(("/abs", "../../../../etc/passwd", "a//b/", "é\n")):
            self.apply(Layer().symlink("l%d" % n, target))
            self.assertEqual(os.readlink(self.path("l%d" % n)), target)

    def test_a_link_over_a_directory_and_a_file_through_it(self):
        self.lower("etc/", "etc/hosts")
        self.apply(Layer().symlink("etc", self.outside + "/etc").file("etc/passwd", b"in"))
        self.assertTrue(os.path.islink(self.path("etc")))
        self.assertEqual(self.read(self.outside.lstrip("/") + "/etc/passwd"), b"in")

    def test_a_relative_link_over_a_directory(self):
        self.lower("etc/", "etc/hosts")
        self.apply(Layer().symlink("etc", "../outside/etc").file("etc/passwd", b"in"))
        self.assertEqual(self.read("outside/etc/passwd"), b"in")

    def test_a_directory_over_a_link_replaces_it(self):
        self.apply(Layer().symlink("etc", self.outside + "/etc").dir("etc", mode=0o711)
                   .file("etc/passwd", b"in"))
        self.assertFalse(os.path.islink(self.path("etc")))
        self.assertEqual(self.read("etc/passwd"), b"in")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("etc")).st_mode), 0o711)

    def test_a_directory_over_a_link_and_a_hardlink_to_it(self):
        self.apply(Layer().symlink("lnk", self.outside).link("lnk2", "lnk").dir("lnk2")
                   .file("lnk2/pwn", b"in"))
        self.assertTrue(os.path.islink(self.path("lnk")))
        self.assertEqual(self.read("lnk2/pwn"), b"in")

    def test_a_parent_that_is_a_file(self):
        self.refuse(Layer().file("f").file("f/g"), "f/g: \"f\": Not a directory")

    def test_metadata_does_not_go_through_a_link(self):
        self.apply(Layer().symlink("lnk", self.outside + "/file", uid=12, gid=34, mode=0o777))
        st = os.lstat(self.path("lnk"))
        self.assertEqual((st.st_uid, st.st_gid, st.st_mtime), (12, 34, 1500000000))


class Hardlinks(ApplyCase):
    def linked(self, a, b):
        x, y = os.lstat(self.path(a)), os.lstat(self.path(b))
        self.assertEqual((x.st_dev, x.st_ino), (y.st_dev, y.st_ino))

    def test_relative_and_absolute_targets_are_those_within(self):
        for target in ("etc/passwd", "/etc/passwd", "../etc/passwd", "../../../../../etc/passwd",
                       "x/../etc/passwd", "./etc//passwd"):
            self.apply(Layer().file("etc/passwd", b"in", mode=0o600).link("l", target))
            self.linked("l", "etc/passwd")

    def test_a_target_outside_is_not_there(self):
        for target in (self.outside + "/file", "../outside/file", "../file",
                       self.world + "/root-evil/file"):
            self.refuse(Layer().link("l", target), "l: hard link to")

    def test_a_target_behind_a_link(self):
        self.refuse(Layer().symlink("lnk", self.outside).link("l", "lnk/file"), "l: hard link")
        self.apply(Layer().file(self.outside.lstrip("/") + "/file", b"in").link("l", "lnk/file"))
        self.assertEqual(self.read("l"), b"in")

    def test_a_link_to_a_link_is_the_link_itself(self):
        for target in (self.outside + "/file", "../outside/file", "dead"):
            self.apply(Layer().symlink("s", target).link("l", "s", mode=0o777, uid=5))
            self.linked("s", "l")
            self.assertEqual(os.readlink(self.path("l")), target)

    def test_a_file_over_a_hardlink_to_a_link(self):
        self.apply(Layer().symlink("s", self.outside + "/file").link("l", "s")
                   .file("l", b"in", mode=0o777))
        self.assertEqual(self.read("l"), b"in")
        self.assertTrue(os.path.islink(self.path("s")))

    def test_a_link_before_its_target(self):
        self.refuse(Layer().link("l", "later").file("later"), "l: hard link")

    def test_a_link_to_itself_and_again(self):
        self.apply(Layer().file("f", b"in").link("f", "f").link("g", "f").link("g", "f"))
        self.linked("f", "g")

    def test_a_link_over_the_directory_of_its_target(self):
        self.refuse(Layer().dir("d").dir("d/e").file("d/e/f").link("d", "d/e/f"), "d: hard link")

    def test_a_link_to_a_directory(self):
        self.refuse(Layer().dir("d").link("l", "d"), "l: hard link")
        self.refuse(Layer().link("l", "/"), "l: a hard link to a directory")


class Whiteouts(ApplyCase):
    def test_names_that_are_no_names_are_refused(self):
        self.lower("etc/", "etc/passwd", "a")
        for name in (".wh...", "etc/.wh...", ".wh.", "etc/.wh.", ".wh..", "etc/.wh..", "/.wh..",
                     "etc/x/../.wh..", ".wh../", "./.wh..."):
            self.refuse(Layer().file(name), ".wh.")
            self.assertEqual(self.names(), ["a", "etc"], name)
            self.assertEqual(self.names("etc"), ["passwd"], name)

    def test_of_a_link_takes_the_link(self):
        self.lower("etc/", "etc/hosts")
        self.apply(Layer().symlink("l", "etc").symlink("out", self.outside))
        self.apply(Layer().whiteout("l").whiteout("out"))
        self.assertEqual(self.names(), ["etc"])
        self.assertEqual(self.names("etc"), ["hosts"])

    def test_through_a_link_takes_what_is_within(self):
        self.lower("etc/", "etc/hosts", "etc/passwd", self.outside.lstrip("/") + "/file")
        self.apply(Layer().symlink("l", "etc").symlink("out", self.outside))
        self.apply(Layer().whiteout("l/hosts").whiteout("out/file"))
        self.assertEqual(self.names("etc"), ["passwd"])
        self.assertFalse(self.lexists(self.outside.lstrip("/") + "/file"))

    def test_up_and_out(self):
        self.lower("file", "outside/")
        self.apply(Layer().whiteout("../../file"))
        self.assertEqual(self.names(), ["outside"])

    def test_of_a_tree_with_links_does_not_follow_them(self):
        self.apply(Layer().dir("d").symlink("d/out", self.outside).symlink("d/up", "..")
                   .dir("d/e").symlink("d/e/out", self.outside + "/etc"))
        self.apply(Layer().whiteout("d"))
        self.assertEqual(self.names(), [])

    def test_opaque_through_a_link_empties_what_is_within(self):
        self.lower("d/", "d/f")
        self.apply(Layer().symlink("l", "/d").symlink("out", self.outside))
        self.apply(Layer().opaque("l").opaque("out"))
        self.assertEqual(self.names("d"), [])

    def test_opaque_does_not_follow_links_in_it(self):
        self.apply(Layer().dir("d").symlink("d/out", self.outside).file("d/f"))
        self.apply(Layer().opaque("d").symlink("d/again", self.outside))
        self.assertEqual(self.names("d"), ["again"])

    def test_below_a_dead_link_is_nothing(self):
        self.apply(Layer().symlink("l", "not/there").whiteout("l/x").whiteout("none/x"))
        self.assertEqual(self.names(), ["l"])


class Specials(ApplyCase):
    def test_a_fifo_or_device_over_a_link_replaces_it(self):
        for make in (lambda l: l.fifo("x", mode=0o666), lambda l: l.char("x", 1, 3, mode=0o666),
                     lambda l: l.block("x", 7, 0, mode=0o666)):
            self.apply(make(Layer().symlink("x", self.outside + "/file")))
            self.assertFalse(os.path.islink(self.path("x")))
            self.assertEqual(stat.S_IMODE(os.lstat(self.path("x")).st_mode), 0o666)

    def test_a_file_over_a_fifo_does_not_wait_for_a_reader(self):
        self.apply(Layer().fifo("x").file("x", b"in"))
        self.assertEqual(self.read("x"), b"in")

    def test_attributes_on_a_link_stay_on_the_link(self):
        before = os.listxattr(self.outside + "/file")
        self.apply(Layer().symlink("x", self.outside + "/file",
                                   pax={"SCHILY.xattr.user.pwn": "1", "SCHILY.xattr.security.pwn": "1"}))
        self.assertEqual(os.listxattr(self.outside + "/file"), before)
        self.assertEqual(os.listxattr(self.path("x"), follow_symlinks=False), ["security.pwn"])


class Attacker(ApplyCase):
    """Somebody with write access in the directory renames and replaces while a layer comes."""

    def race(self, layer, attack):
        before = self.canary()
        stop = threading.Event()

        def run():
            while not stop.is_set():
                attack()
        helper = threading.Thread(target=run)
        helper.start()
        try:
            data = layer.bytes()
            for _ in range(6):
                done = subprocess.run([DIST, "apply", self.root], input=data, capture_output=True,
                                      timeout=TIMEOUT, check=False)
                self.assertIn(done.returncode, (0, 1), done.stderr)
        finally:
            stop.set()
            helper.join()
        self.assertEqual(differences(before, self.canary()), [])

    @staticmethod
    def attempt(call, *args):
        try:
            call(*args)
        except OSError:
            pass

    def many(self):
        layer = Layer()
        for i in range(400):
            layer.dir("a/d%d" % (i % 7)).file("a/d%d/f%d" % (i % 7, i), b"x", mode=0o777)
            layer.symlink("a/s%d" % i, "d1").file("a/s%d/etc/passwd" % i, b"pwn")
            layer.link("a/l%d" % i, "a/d%d/f%d" % (i % 7, i)).whiteout("a/d%d/etc" % (i % 5))
        return layer

    def test_directories_swapped_with_links_out(self):
        def attack():
            for i in range(7):
                d = self.path("a/d%d" % i)
                self.attempt(os.rename, d, d + ".away")
                self.attempt(os.symlink, self.outside, d)
                self.attempt(os.unlink, d)
                self.attempt(os.rename, d + ".away", d)
        self.race(self.many(), attack)

    def test_directories_moved_up_and_down(self):
        def attack():
            self.attempt(os.mkdir, self.path("b"))
            self.attempt(os.mkdir, self.path("b/c"))
            self.attempt(os.rename, self.path("a"), self.path("b/c/a"))
            self.attempt(os.symlink, "../../../outside", self.path("b/c/up"))
            self.attempt(os.rename, self.path("b/c/a"), self.path("a"))
            self.attempt(os.rename, self.path("b/c/up"), self.path("a/d1/etc"))
        self.race(self.many(), attack)

    def test_names_replaced_by_links_out_as_they_appear(self):
        def attack():
            try:
                names = os.listdir(self.path("a/d1"))
            except OSError:
                return
            for name in names[:40]:
                path = self.path("a/d1/" + name)
                self.attempt(os.unlink, path)
                self.attempt(os.symlink, self.outside + "/file", path)
        self.race(self.many(), attack)


if __name__ == "__main__":
    unittest.main(verbosity=1)
