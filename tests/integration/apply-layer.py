#!/usr/bin/python3
"""What dist apply makes of honest layers, damaged ones, and its options.

Needs root; $BIN/dist, zstd, and GNU tar and umoci to compare with.
"""
import hashlib
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from apply_case import DIST, TIMEOUT, ApplyCase, lacking, require_root  # noqa: E402
from make_layer import MTIME, Layer, pack, skippable_frame  # noqa: E402
from tree_walk import differences, walk  # noqa: E402

require_root()
PACKINGS = ("plain", "gzip", "zstd", "xz", "bzip2")


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def noise(n, seed=1):
    return random.Random(seed).randbytes(n)


class Packings(ApplyCase):
    def test_each_is_told_by_its_magic_and_has_the_same_diff_id(self):
        for packing in PACKINGS:
            layer = Layer().file("f", noise(700001)).file(packing, b"1")
            plain = layer.bytes()
            done = self.apply(None, "--print-diff-id", data=pack(plain, packing))
            self.assertEqual(done.stdout.decode(), sha256(plain) + "\n")
            self.assertEqual(self.read("f"), noise(700001))

    def test_no_bytes_are_an_empty_layer(self):
        done = self.apply(None, "--print-diff-id", data=b"")
        self.assertEqual(done.stdout.decode(), sha256(b"") + "\n")
        for packing in PACKINGS[1:]:
            self.apply(None, data=pack(b"", packing))
        self.assertEqual(self.names(), [])

    def test_members_frames_and_streams_follow_each_other(self):
        data = Layer().file("f", noise(5000)).bytes()
        for packing in PACKINGS[1:]:
            parts = [pack(data[i:i + 700], packing) for i in range(0, len(data), 700)]
            done = self.apply(None, "--print-diff-id", data=b"".join(parts))
            self.assertEqual(done.stdout.decode(), sha256(data) + "\n", packing)

    def test_skippable_frames_of_zstd_are_skipped(self):
        data = Layer().file("f", b"in").bytes()
        packed = skippable_frame(b"first") + pack(data, "zstd") + skippable_frame(noise(3000))
        done = self.apply(None, "--print-diff-id", data=packed)
        self.assertEqual(done.stdout.decode(), sha256(data) + "\n")

    def test_behind_gzip_zeros_are_padding_and_the_rest_is_told(self):
        packed = Layer().file("f", b"in").bytes("gzip")
        self.assertEqual(self.apply(None, data=packed + bytes(1000)).stderr, b"")
        for tail in (b"x", b"\x1f", b"\x1fx", bytes(7) + b"garbage"):
            done = self.apply(None, data=packed + tail)
            self.assertIn(b"%d bytes behind the end" % len(tail), done.stderr)

    def test_behind_the_others_there_is_nothing(self):
        for packing in ("zstd", "bzip2", "xz"):
            self.refuse(None, packing, data=Layer().file("f").bytes(packing) + b"garbage")

    def test_the_diff_id_covers_what_is_behind_the_end_mark(self):
        data = Layer().file("f", b"in").bytes() + bytes(512) + b"tail"
        for packing in PACKINGS:
            done = self.apply(None, "--print-diff-id", data=pack(data, packing))
            self.assertEqual(done.stdout.decode(), sha256(data) + "\n")

    def test_a_window_over_the_limit_is_refused_and_can_be_allowed(self):
        data = Layer().file("f", noise(300)).bytes()
        packed = subprocess.run(["zstd", "-q", "-c", "--ultra", "-22", "--long=27"], input=data,
                                stdout=subprocess.PIPE, check=True).stdout
        self.refuse(None, "zstd: needs a window", data=packed)
        self.apply(None, "--max-window", "128MiB", data=packed)
        packed = subprocess.run(["xz", "-c", "--lzma2=dict=64MiB"], input=data,
                                stdout=subprocess.PIPE, check=True).stdout
        self.refuse(None, "xz: needs a dictionary", data=packed)
        self.apply(None, "--max-window", "64MiB", data=packed)


class Damage(ApplyCase):
    def layer(self):
        return Layer().dir("d").file("d/first", noise(200000, 2)).file("d/second", noise(300000, 3))

    def test_a_layer_cut_short_names_the_entry(self):
        for packing in PACKINGS:
            data = self.layer().bytes(packing)
            cut = len(data) * 7 // 10 if packing != "bzip2" else len(data) - 10000
            self.refuse(None, "d/second: ", data=data[:cut])
            self.assertTrue(self.lexists("d/first"))
            self.assertFalse(self.lexists("d/second"))

    def test_every_cut_is_noticed(self):
        """But those of a plain archive between two entries, which its digest tells."""
        for packing in PACKINGS:
            data = Layer().file("a", b"1").file("b", b"2").bytes(packing)
            for cut in range(1, len(data) - (1024 if packing == "plain" else 0), 97):
                done = self.run_apply(None, data=data[:cut])
                if packing == "plain" and cut % 512 == 0:
                    continue
                if packing == "plain" and cut > 4 * 512:
                    continue  # in the end mark
                self.assertEqual(done.returncode, 1, (packing, cut))
                self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_flipped_bits_are_noticed_by_the_checksums(self):
        for packing in PACKINGS[1:]:
            data = bytearray(self.layer().bytes(packing))
            for at in (len(data) // 2, len(data) - 6 if packing == "gzip" else len(data) * 9 // 10):
                data[at] ^= 0x10
                # libbz2 gives out a block before it has all of its checksum
                self.refuse(None, packing + ":" if packing != "bzip2" else "", data=bytes(data))
                data[at] ^= 0x10

    def test_no_archive_at_all(self):
        self.refuse(None, "cut short", data=b"junk\n")
        self.refuse(None, "no tar header", data=noise(4096))
        self.refuse(None, "no tar header", data=pack(noise(4096), "gzip"))

    def test_between_two_entries_the_one_before_is_named(self):
        data = Layer().file("a", b"1").bytes()
        self.refuse(None, "after a: no tar header", data=data[:1024] + noise(2048))

    def test_bombs_end_at_max_size(self):
        for packing in PACKINGS[1:]:
            data = Layer().file("zeros", bytes(30 << 20)).bytes(packing)
            self.refuse(None, "zeros: unpacks to more than the limit of 5000000 bytes",
                        "--max-size", "5MB", data=data)
            self.assertEqual(self.names(), [])

    def test_headers_without_measure(self):
        self.refuse(Layer().file("x", pax={"comment": "y" * (2 << 20)}), "over the limit")
        self.refuse(Layer(tarfile.GNU_FORMAT).file("n" * (2 << 20)), "over the limit")
        self.refuse(Layer().file("a/" * 3000), "name is too long")
        self.refuse(Layer().file("d/" * 300 + "f"), "directories deep")

    def test_kinds_that_no_layer_has(self):
        self.refuse(Layer().add("x", b"V"), "x: no layer has members of type \"V\"")

    def test_a_failure_is_one_line_whatever_the_name(self):
        done = self.refuse(Layer().file("a\nb\x1b[31m/.wh.."), "no name")
        self.assertNotIn(b"\x1b", done.stderr)


class Whiteouts(ApplyCase):
    def test_files_directories_and_what_is_not_there(self):
        self.lower("a", "d/", "d/e/", "d/e/f", "keep")
        self.apply(Layer().whiteout("a").whiteout("d").whiteout("nothing").whiteout("no/such"))
        self.assertEqual(self.names(), ["keep"])

    def test_what_this_layer_has_stays_whichever_comes_first(self):
        for first in (True, False):
            self.lower("d/", "d/old", "d/both", "d/sub/", "d/sub/old", "f")
            layer = Layer()
            steps = [lambda l: l.opaque("d"), lambda l: l.whiteout("f")]
            news = [lambda l: l.dir("d").file("d/both", b"new").dir("d/sub").file("d/sub/new"),
                    lambda l: l.file("f", b"new")]
            for step in steps + news if first else news + steps:
                step(layer)
            self.apply(layer)
            self.assertEqual(self.names("d"), ["both", "sub"], first)
            self.assertEqual(self.names("d/sub"), ["new"])
            self.assertEqual(self.read("d/both"), b"new")
            self.assertEqual(self.read("f"), b"new")
            self.apply(Layer().whiteout("d").whiteout("f"))

    def test_a_directory_whited_out_and_made_again_is_new(self):
        for first in (True, False):
            self.lower("d/", "d/old", "d/e/", "d/e/old")
            layer = Layer()
            if first:
                layer.whiteout("d")
            layer.dir("d").file("d/new").file("d/e/new")
            if not first:
                layer.whiteout("d")
            self.apply(layer)
            self.assertEqual(self.names("d"), ["e", "new"])
            self.assertEqual(self.names("d/e"), ["new"])
            self.apply(Layer().whiteout("d"))

    def test_opaque_at_the_root_and_in_one_not_there(self):
        self.lower("a", "d/", "d/f")
        self.apply(Layer().file("new").opaque().opaque("n/m"))
        self.assertEqual(self.names(), ["n", "new"])
        self.assertEqual(self.names("n/m"), [])

    def test_below_a_directory_of_that_name_they_are_plain(self):
        self.lower("etc/", "etc/f")
        self.apply(Layer().file(".wh.etc/somefile", b"1"))
        self.assertEqual(self.names(), [".wh.etc", "etc"])

    def test_what_aufs_kept_is_passed_over(self):
        done = self.apply(Layer().dir(".wh..wh.orph").file(".wh..wh.plnk/1.2", b"x")
                          .file("d/.wh..wh.aufs").file("f"))
        self.assertEqual(self.names(), ["f"])
        self.assertIn(b"AUFS", done.stderr)

    def test_many_in_any_order_against_a_model(self):
        for seed in range(8):
            rng = random.Random(seed)
            dirs = ["a", "b", "a/c", "a/c/d"]
            names = [d + "/" + f for d in dirs for f in "xyz"]
            low = sorted(rng.sample(names, 8))
            self.lower(*low)
            up = rng.sample(names, 4)
            gone = [n for n in rng.sample(names, 4) if n not in up]
            opaque = rng.sample(dirs, 1)
            steps = [("file", n) for n in up] + [("gone", n) for n in gone] + \
                    [("opaque", d) for d in opaque]
            rng.shuffle(steps)
            layer = Layer()
            for what, name in steps:
                {"file": layer.file, "gone": layer.whiteout, "opaque": layer.opaque}[what](name)
            self.apply(layer)
            want = {n for n in low if n not in gone and
                    not any(n.startswith(d + "/") for d in opaque)} | set(up)
            got = {os.path.relpath(os.path.join(d, f), self.root)
                   for d, _, files in os.walk(self.root) for f in files}
            self.assertEqual(got, want, (seed, steps))
            self.apply(Layer().opaque())


class Replacing(ApplyCase):
    KINDS = {"file": lambda l, n: l.file(n, b"new"), "dir": lambda l, n: l.dir(n),
             "symlink": lambda l, n: l.symlink(n, "t"), "fifo": lambda l, n: l.fifo(n),
             "link": lambda l, n: l.file("t", b"t").link(n, "t")}

    def test_anything_over_anything(self):
        for a, make_a in self.KINDS.items():
            for b, make_b in self.KINDS.items():
                layer = make_a(Layer(), "n")
                if a == "dir":
                    layer.file("n/inside")
                self.apply(layer)
                self.apply(make_b(Layer(), "n"))
                kind = walk(self.root)[b"n"]["type"]
                self.assertEqual(kind, "file" if b == "link" else b, (a, b))
                if a == b == "dir":
                    self.assertEqual(self.names("n"), ["inside"])
                self.apply(Layer().opaque())

    def test_a_file_over_a_hardlink_leaves_the_other_name(self):
        self.apply(Layer().file("a", b"1").link("b", "a"))
        self.apply(Layer().file("b", b"2"))
        self.assertEqual((self.read("a"), self.read("b")), (b"1", b"2"))

    def test_a_directory_over_a_directory_takes_the_new_attributes(self):
        self.apply(Layer().dir("d", mode=0o700, uid=1).file("d/f"))
        self.apply(Layer().dir("d", mode=0o1777, uid=2, mtime=5))
        st = os.stat(self.path("d"))
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid, st.st_mtime), (0o1777, 2, 5))
        self.assertEqual(self.names("d"), ["f"])

    def test_missing_parents_are_0755(self):
        old = os.umask(0o077)
        try:
            self.apply(Layer().file("a/b/c"))
        finally:
            os.umask(old)
        for d in ("a", "a/b"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(d)).st_mode), 0o755)

    def test_the_root_takes_the_attributes_of_its_entry(self):
        self.apply(Layer().dir("./", mode=0o750, uid=3, mtime=77).file("./f"))
        st = os.stat(self.root)
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid, st.st_mtime), (0o750, 3, 77))


CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # net_bind_service, effective


class Attributes(ApplyCase):
    def test_modes_owners_and_times(self):
        old = os.umask(0o027)
        try:
            layer = Layer()
            for n, mode in enumerate((0o4755, 0o2755, 0o1777, 0o7777, 0, 0o6000, 0o444)):
                layer.file("f%d" % n, b"x", mode=mode, uid=1000 + n, gid=7)
                layer.file("g%d" % n, b"x", mode=mode)
                layer.dir("d%d" % n, mode=mode, uid=n)
                layer.fifo("p%d" % n, mode=mode, uid=n)
            self.apply(layer)
        finally:
            os.umask(old)
        for n, mode in enumerate((0o4755, 0o2755, 0o1777, 0o7777, 0, 0o6000, 0o444)):
            for name in ("f", "g", "d", "p"):
                st = os.stat(self.path(name + str(n)))
                self.assertEqual(oct(stat.S_IMODE(st.st_mode)), oct(mode), name)
                self.assertEqual(st.st_mtime, MTIME)
            self.assertEqual(os.stat(self.path("f%d" % n)).st_uid, 1000 + n)

    def test_times_in_nanoseconds_bounded_and_directories_last(self):
        layer = Layer().dir("d", mtime=9).file("d/a", pax={"mtime": "1234567890.123456789"})
        layer.file("d/b", pax={"mtime": "100.5", "atime": "200.25"})
        layer.file("d/c", pax={"mtime": "100.5", "atime": "50"})
        layer.file("d/old", pax={"mtime": "-5.5"}).file("d/late", pax={"mtime": "99999999999999"})
        layer.symlink("d/s", "x", pax={"mtime": "7.000000001"})
        self.apply(layer)

        def times(name):
            st = os.lstat(self.path(name))
            return st.st_atime_ns, st.st_mtime_ns
        self.assertEqual(times("d")[1], 9 * 10**9)
        self.assertEqual(times("d/a"), (1234567890123456789,) * 2)
        self.assertEqual(times("d/b"), (200250000000, 100500000000))
        self.assertEqual(times("d/c"), (100500000000, 100500000000))
        self.assertEqual(times("d/old")[1], 0)
        self.assertEqual(times("d/s")[1], 7000000001)
        self.assertGreater(times("d/late")[1], 2**32 * 10**9)

    def test_times_of_directories_come_back_when_they_are_used_again(self):
        """More directories than are held open, and all visited a second time."""
        layer = Layer()
        for i in range(700):
            layer.dir("d%d" % i, mtime=1000 + i, mode=0o555)
        for i in range(700):
            layer.file("d%d/f" % i)
        self.apply(layer)
        for i in range(700):
            st = os.stat(self.path("d%d" % i))
            self.assertEqual((st.st_mtime, stat.S_IMODE(st.st_mode)), (1000 + i, 0o555))

    def test_extended_attributes_and_capabilities(self):
        layer = Layer().raw(pax_header({b"SCHILY.xattr.security.capability": CAPABILITY,
                                        b"SCHILY.xattr.user.bin": b"\0\xff\n=",
                                        b"LIBARCHIVE.xattr.user.a%25b": b"AAEC/w=="}))
        layer.file("f", b"x", mode=0o4755, uid=1000)
        layer.raw(pax_header({b"SCHILY.xattr.user.d": b"1"})).dir("d")
        self.apply(layer)
        self.assertEqual(os.getxattr(self.path("f"), "security.capability"), CAPABILITY)
        self.assertEqual(os.getxattr(self.path("f"), "user.bin"), b"\0\xff\n=")
        self.assertEqual(os.getxattr(self.path("f"), "user.a%b"), b"\0\1\2\xff")
        self.assertEqual(os.getxattr(self.path("d"), "user.d"), b"1")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), 0o4755)

    def test_trusted_attributes_are_left_out_and_counted(self):
        pax = {"SCHILY.xattr.trusted.overlay.opaque": "y"}
        done = self.apply(Layer().dir("d", pax=pax).dir("e", pax=pax).dir("g", pax=pax))
        self.assertEqual(os.listxattr(self.path("d")), [])
        self.assertIn(b"d/: attribute trusted.overlay.opaque not set", done.stderr)
        self.assertIn(b"2 more trusted attributes", done.stderr)

    def test_user_attributes_on_links_and_fifos_are_left_out(self):
        pax = {"SCHILY.xattr.user.x": "1"}
        done = self.apply(Layer().symlink("s", "t", pax=pax).fifo("p", pax=pax))
        self.assertIn(b"user.x not set", done.stderr)

    def test_access_control_lists(self):
        text = "user::rwx,user:lisa:r-x:1000,group::r--,group:50:rwx,mask::rwx,other::---"
        self.apply(Layer().file("f", mode=0o770, pax={"SCHILY.acl.access": text})
                   .dir("d", mode=0o770, pax={"SCHILY.acl.access": text, "SCHILY.acl.default": text})
                   .file("d/inside", mode=0o640).dir("d/sub", mode=0o750))
        want = struct.pack("<I", 2) + b"".join(
            struct.pack("<HHI", *e) for e in ((1, 7, 2**32 - 1), (2, 5, 1000), (4, 4, 2**32 - 1),
                                              (8, 7, 50), (16, 7, 2**32 - 1), (32, 0, 2**32 - 1)))
        self.assertEqual(os.getxattr(self.path("f"), "system.posix_acl_access"), want)
        self.assertEqual(os.getxattr(self.path("d"), "system.posix_acl_default"), want)
        # Nothing is inherited that the archive does not say, in this layer or the next.
        self.apply(Layer().file("d/later", mode=0o604).dir("d/dir", mode=0o701).fifo("d/p"))
        for name, mode in (("inside", 0o640), ("sub", 0o750), ("later", 0o604), ("dir", 0o701),
                           ("p", 0o644)):
            path = self.path("d/" + name)
            self.assertEqual(os.listxattr(path), [], name)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode)

    def test_a_list_that_names_users_is_left_out_and_a_bad_one_refused(self):
        done = self.apply(Layer().file("f", pax={"SCHILY.acl.access": "user::rw-,user:lisa:rw-"}))
        self.assertIn(b"names users", done.stderr)
        self.refuse(Layer().file("f", pax={"SCHILY.acl.access": "user::xyz"}), "bad access control")

    def test_a_set_group_id_directory_does_not_give_its_group(self):
        self.apply(Layer().dir("d", mode=0o2777, gid=77).file("d/f").symlink("d/s", "x").fifo("d/p")
                   .dir("d/e"))
        for name in ("f", "s", "p", "e"):
            st = os.lstat(self.path("d/" + name))
            self.assertEqual(st.st_gid, 0, name)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("d/e")).st_mode), 0o755)

    def test_devices(self):
        self.apply(Layer().char("null", 1, 3, mode=0o666).block("b", 259, 70000, uid=5))
        st = os.stat(self.path("null"))
        self.assertEqual((os.major(st.st_rdev), os.minor(st.st_rdev)), (1, 3))
        self.assertEqual(stat.S_IMODE(st.st_mode), 0o666)
        st = os.stat(self.path("b"))
        self.assertEqual((os.major(st.st_rdev), os.minor(st.st_rdev), st.st_uid), (259, 70000, 5))


def pax_header(records):
    """An extended header whose values are bytes."""
    data = b""
    for key, value in records.items():
        body = b" " + key + b"=" + value + b"\n"
        n = len(body) + len(str(len(body) + 2))
        n = len(body) + len(str(n))
        data += str(n).encode() + body
    info = tarfile.TarInfo("pax")
    info.type = tarfile.XHDTYPE
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


class Formats(ApplyCase):
    def test_long_names_and_large_numbers_in_each_format(self):
        name = "d" * 120 + "/" + "é" * 60 + "/" + "n" * 200
        for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            self.apply(Layer(kind).file(name, b"in", uid=3000000, gid=2**32 - 2)
                       .symlink("s", "t" * 500).link("l", name))
            self.assertEqual(self.read(name), b"in")
            st = os.stat(self.path("l"))
            self.assertEqual((st.st_uid, st.st_gid, st.st_nlink), (3000000, 2**32 - 2, 2))
            self.assertEqual(os.readlink(self.path("s")), "t" * 500)
        self.apply(Layer(tarfile.USTAR_FORMAT).file("p" * 90 + "/" + "q" * 90, b"ustar"))
        self.assertEqual(self.read("p" * 90 + "/" + "q" * 90), b"ustar")

    def test_names_are_bytes(self):
        for name in (b"e\xcc\x81", b"\xc3\xa9", b"bad\xff", b"a\nb", b" "):
            self.apply(Layer().raw(pax_header({b"path": name})).file("x", name))
        self.assertEqual(sorted(os.listdir(os.fsencode(self.root))),
                         sorted((b"e\xcc\x81", b"\xc3\xa9", b"bad\xff", b"a\nb", b" ")))

    def test_the_owner_that_chown_takes_for_none_is_refused(self):
        self.refuse(Layer().file("f", uid=2**32 - 1), "f: uid 4294967295 is out of range")

    def test_sparse_files_in_each_format(self):
        src = os.path.join(self.t, "src")
        os.mkdir(src)
        with open(src + "/sparse", "wb") as f:
            f.truncate(9 << 30)  # past what octal digits can say
            for at in (0, 1 << 20, 5 << 30, (9 << 30) - 4096):
                f.seek(at)
                f.write(noise(4096, at))
        with open(src + "/many", "wb") as f:
            for i in range(60):  # more extents than a header holds
                f.seek(i << 16)
                f.write(noise(4096, i))
        with open(src + "/hole", "wb") as f:
            f.truncate(1 << 20)
        for options in (["--format=gnu"], ["--format=pax", "--sparse-version=0.0"],
                        ["--format=pax", "--sparse-version=0.1"],
                        ["--format=pax", "--sparse-version=1.0"]):
            data = subprocess.run(["tar", "-S", *options, "-C", src, "-c", "sparse", "many", "hole"],
                                  stdout=subprocess.PIPE, check=True, timeout=TIMEOUT).stdout
            self.assertLess(len(data), 1 << 20)
            self.apply(None, data=data)
            for name in ("many", "hole"):
                with open(os.path.join(src, name), "rb") as f:
                    self.assertEqual(self.read(name), f.read(), options)
            st = os.stat(self.path("sparse"))
            self.assertEqual(st.st_size, 9 << 30)
            self.assertLess(st.st_blocks * 512, 1 << 20)
            with open(self.path("sparse"), "rb") as f:
                for at in (0, 1 << 20, 5 << 30, (9 << 30) - 4096):
                    f.seek(at)
                    self.assertEqual(f.read(4096), noise(4096, at), options)

    def test_a_size_past_eight_gigabytes_is_believed(self):
        info = tarfile.TarInfo("big")
        info.size = 9 << 30
        for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            data = info.tobuf(kind) + bytes(100000)
            self.refuse(None, "big: unpacks to more", "--max-size", "90kB", data=data)
            self.refuse(None, "big: the archive is cut short", data=data)

    def test_maps_of_sparse_files_that_lie(self):
        for records in ({b"GNU.sparse.map": b"0,512,100,512", b"GNU.sparse.size": b"9999"},
                        {b"GNU.sparse.map": b"0,512", b"GNU.sparse.size": b"10"},
                        {b"GNU.sparse.map": b"0,99999999999999999999", b"GNU.sparse.size": b"1"},
                        {b"GNU.sparse.map": b"0,4096", b"GNU.sparse.size": b"9999"},
                        {b"GNU.sparse.map": b"0,", b"GNU.sparse.size": b"9999"},
                        {b"GNU.sparse.map": b"0,1024"}):
            self.refuse(Layer().raw(pax_header(records)).file("f", bytes(1024)), "f: ")


class Options(ApplyCase):
    def test_without_a_directory_nothing_is_done(self):
        for args in ([], [""]):
            done = subprocess.run([DIST, "apply", *args], input=Layer().file("f").bytes(), cwd=self.root,
                                  capture_output=True, timeout=TIMEOUT, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(self.names(), [])
            self.assertIn(b"specify a directory", done.stderr)

    def test_the_directory_is_made_but_not_those_above(self):
        data = Layer().file("f", b"1").bytes()
        for name, status in (("new", 0), ("no/such", 1)):
            done = subprocess.run([DIST, "apply", self.path(name)], input=data, capture_output=True,
                                  timeout=TIMEOUT, check=False)
            self.assertEqual(done.returncode, status)
        self.assertEqual(self.read("new/f"), b"1")

    def test_the_expected_diff_id(self):
        data = Layer().file("f", b"1").bytes()
        self.apply(None, "--expected-diff-id", sha256(data), data=pack(data, "gzip"))
        packed = pack(data, "gzip")
        self.refuse(None, "unexpected diffID: " + sha256(data) + " != " + sha256(packed),
                    "--expected-diff-id", sha256(packed), data=packed)
        self.refuse(None, "1 layers, but 2 times", "--expected-diff-id", sha256(data),
                    "--expected-diff-id", sha256(data), data=data)

    def test_named_files_and_blobs_of_the_store_in_order(self):
        store = os.path.join(self.t, "store")
        a = Layer().file("f", b"1").file("g", b"1")
        b = Layer().file("f", b"2").whiteout("g")
        path = a.write(os.path.join(self.t, "a.tar.zst"), "zstd")
        data = b.bytes("gzip")
        subprocess.run([DIST, "ingest", "--root", store, "b"], input=data, check=True, timeout=TIMEOUT)
        done = subprocess.run([DIST, "apply", "--root", store, "--print-diff-id", self.root, path,
                               sha256(data)], capture_output=True, timeout=TIMEOUT, check=True)
        self.assertEqual(done.stdout.decode().split(), [sha256(a.bytes()), sha256(b.bytes())])
        self.assertEqual((self.names(), self.read("f")), (["f"], b"2"))
        done = subprocess.run([DIST, "apply", "--root", store, self.root, sha256(b"none")],
                              capture_output=True, timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"blob not found", done.stderr)

    def test_a_blob_that_has_rotted_is_told(self):
        store = os.path.join(self.t, "store")
        data = Layer().file("f", b"1").bytes()
        subprocess.run([DIST, "ingest", "--root", store, "x"], input=data, check=True, timeout=TIMEOUT)
        blob = os.path.join(store, "blobs/sha256", sha256(data)[7:])
        os.chmod(blob, 0o644)
        with open(blob, "r+b") as f:
            f.seek(512)
            f.write(b"2")
        done = subprocess.run([DIST, "apply", "--root", store, self.root, sha256(data)],
                              capture_output=True, timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"the blob is damaged", done.stderr)

    def test_rootless(self):
        layer = Layer().dir("ro", mode=0o555).file("ro/f", b"1", uid=1234, mode=0o4755)
        layer.char("null", 1, 3).file("cap", pax={"SCHILY.xattr.security.x": "1"}).dir("none", mode=0)
        layer.file("none/f").symlink("s", "t", uid=9)
        os.chown(self.root, 65534, 65534)
        os.chmod(self.t, 0o755)
        cmd = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", DIST, "apply"]
        data = layer.bytes()
        done = subprocess.run([*cmd, "--rootless", self.root], input=data, capture_output=True,
                              timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in (b"device not made", b"owner 0:0 not set", b"security.x not set"):
            self.assertIn(text, done.stderr)
        self.assertEqual(self.names(), ["cap", "none", "ro", "s"])
        self.assertEqual(stat.S_IMODE(os.stat(self.path("ro")).st_mode), 0o555)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("none")).st_mode), 0)
        self.assertEqual(os.stat(self.path("ro/f")).st_uid, 65534)
        # Again, into directories that shut us out, and less without --rootless.
        done = subprocess.run([*cmd, "--rootless", self.root], input=data, capture_output=True,
                              timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = subprocess.run([*cmd, self.root], input=data, capture_output=True, timeout=TIMEOUT,
                              check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"set the owner", done.stderr)


def make_tree(root):
    """A bit of everything."""
    rng = random.Random(7)
    os.makedirs(root)
    for i in range(60):
        d = os.path.join(root, *("d%d" % rng.randrange(4) for _ in range(rng.randrange(1, 5))))
        os.makedirs(d, exist_ok=True)
        path = os.path.join(d, "f%d" % i)
        with open(path, "wb") as f:
            f.write(rng.randbytes(rng.choice((0, 1, 511, 512, 513, 70000, 300000))))
        os.chown(path, rng.randrange(3) * 1000, rng.randrange(3))
        os.chmod(path, rng.choice((0o644, 0o755, 0o4755, 0o2711, 0o600, 0o444)))
        if i % 5 == 0:
            os.link(path, path + "-link")
            os.setxattr(path, "user.n", b"%d" % i)
        if i % 7 == 0:
            os.symlink("../f%d" % i, path + "-sym")
            os.lchown(path + "-sym", 3, 4)
        if i == 11:
            os.setxattr(path, "security.capability", CAPABILITY)
    os.mkfifo(os.path.join(root, "fifo"), 0o622)
    os.mknod(os.path.join(root, "null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkdir(os.path.join(root, "ro"), 0o555)
    for d, dirs, files in os.walk(root, topdown=False):
        for name in files + dirs:
            ns = rng.randrange(10**9, 15 * 10**8) * 10**9 + rng.randrange(10**9)
            os.utime(os.path.join(d, name), ns=(ns, ns), follow_symlinks=False)


class Peers(ApplyCase):
    def test_the_result_is_that_of_gnu_tar(self):
        src, other = os.path.join(self.t, "src"), os.path.join(self.t, "other")
        make_tree(src)
        for options in (["--format=pax", "--xattrs", "--xattrs-include=*"], ["--format=gnu"]):
            data = subprocess.run(["tar", "-C", src, *options, "-c", "."], stdout=subprocess.PIPE,
                                  check=True, timeout=TIMEOUT).stdout
            os.makedirs(other)
            subprocess.run(["tar", "-C", other, "--xattrs", "--xattrs-include=*", "-xp",
                            "--numeric-owner"], input=data, check=True, timeout=TIMEOUT)
            self.apply(None, data=pack(data, "gzip"))
            self.assertEqual(differences(walk(self.root), walk(other)), [])
            if options[0] == "--format=pax":
                self.assertEqual(differences(walk(self.root), walk(src)), [])
            subprocess.run(["rm", "-rf", other], check=True)
            self.apply(Layer().opaque())

    def test_the_result_is_that_of_umoci(self):
        if shutil.which("umoci") is None:
            lacking("umoci")
        src = os.path.join(self.t, "src")
        make_tree(src)
        one = subprocess.run(["tar", "-C", src, "--format=pax", "--xattrs", "--xattrs-include=*",
                              "-c", "."], stdout=subprocess.PIPE, check=True, timeout=TIMEOUT).stdout
        two = Layer().dir("d0").whiteout("d1").opaque("d2").file("d0/new", b"2").symlink("fifo", "x")
        layers = [one, two.bytes()]
        image = os.path.join(self.t, "image")
        write_image(image, layers)
        bundle = os.path.join(self.t, "bundle")
        subprocess.run(["umoci", "unpack", "--image", image + ":latest", bundle], check=True,
                       capture_output=True, timeout=TIMEOUT)
        for data in layers:
            self.apply(None, data=data)
        self.assertEqual(differences(walk(self.root), walk(bundle + "/rootfs")), [])


def write_image(path, layers):
    """An OCI image layout of gzipped layers."""
    blobs = os.path.join(path, "blobs/sha256")
    os.makedirs(blobs)

    def add(data, kind):
        with open(os.path.join(blobs, sha256(data)[7:]), "wb") as f:
            f.write(data)
        return {"mediaType": "application/vnd.oci.image." + kind, "digest": sha256(data),
                "size": len(data)}

    def dump(what):
        return json.dumps(what).encode()
    config = add(dump({"architecture": "amd64", "os": "linux", "config": {},
                       "rootfs": {"type": "layers", "diff_ids": [sha256(x) for x in layers]}}),
                 "config.v1+json")
    parts = [add(pack(x, "gzip"), "layer.v1.tar+gzip") for x in layers]
    manifest = add(dump({"schemaVersion": 2, "config": config, "layers": parts,
                         "mediaType": "application/vnd.oci.image.manifest.v1+json"}),
                   "manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    with open(os.path.join(path, "index.json"), "wb") as f:
        f.write(dump({"schemaVersion": 2, "manifests": [manifest]}))
    with open(os.path.join(path, "oci-layout"), "wb") as f:
        f.write(dump({"imageLayoutVersion": "1.0.0"}))


if __name__ == "__main__":
    unittest.main(verbosity=1)
