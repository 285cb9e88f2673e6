#!/usr/bin/python3
"""The gRPC server of proto/rpc against Debian's python3-grpcio.

Needs $TESTBIN/rpc-peer and protoc; the message classes are made for the run.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from shim_client import DEADLINE, TESTBIN, Shim, grpc, open_channel, pb, wait_until  # noqa: E402


class Peer(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rpc-grpcio-")
        self.path = os.path.join(self.dir, "s")
        self.start_server(self.path)

    def start_server(self, path):
        self.server = subprocess.Popen([os.path.join(TESTBIN, "rpc-peer"), path])
        wait_until(lambda: os.path.exists(path))
        self.channel = open_channel(path)
        # The name is there from bind() on, and nobody listens before listen().
        grpc.channel_ready_future(self.channel).result(timeout=DEADLINE)
        self.shim = Shim(self.channel)

    def tearDown(self):
        """Exit is answered, and then the server ends in order and leaks nothing (asan)."""
        try:
            self.shim.Exit(pb.ExitRequest(), timeout=DEADLINE)
            self.assertEqual(self.server.wait(timeout=DEADLINE), 0)
        finally:
            self.server.kill()
            self.server.wait()
            self.channel.close()
            shutil.rmtree(self.dir)

    def fails(self, code, call, *args, **kw):
        with self.assertRaises(grpc.RpcError) as caught:
            result = call(*args, timeout=kw.get("timeout", DEADLINE))
            if hasattr(result, "__iter__"):
                list(result)
        self.assertEqual(caught.exception.code(), code)
        return caught.exception.details()

    def test_a_call_is_answered(self):
        for n in (0, 1, 300):
            answer = self.shim.Create(pb.CreateRequest(id="x" * n), timeout=DEADLINE)
            self.assertEqual(answer.pid, n)

    def test_a_failure_has_its_code_and_text(self):
        for code in grpc.StatusCode:
            if code == grpc.StatusCode.OK:
                continue
            text = self.fails(code, self.shim.Kill, pb.KillRequest(signal=code.value[0]))
            self.assertEqual(text, "100% refused\nin two lines: \u00e4")

    def test_an_unknown_method_is_unimplemented(self):
        for path in ("/containerd.shim.v1.Shim/Nothing", "/other.Service/Create"):
            call = self.channel.unary_unary(path)
            self.fails(grpc.StatusCode.UNIMPLEMENTED, call, b"")

    def test_a_request_that_is_no_message_is_invalid(self):
        call = self.channel.unary_unary("/containerd.shim.v1.Shim/Create")
        self.fails(grpc.StatusCode.INVALID_ARGUMENT, call, b"\x0a\x7f")

    def test_big_messages_go_both_ways_and_too_big_ones_do_not(self):
        big = self.shim.Create(pb.CreateRequest(id="x" * (4000 << 10)), timeout=DEADLINE)
        self.assertEqual(big.pid, 4000 << 10)
        self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, self.shim.Create,
                   pb.CreateRequest(id="x" * (5 << 20)))
        state = self.shim.State(pb.StateRequest(), timeout=DEADLINE)
        self.assertEqual(len(state.processes), 100000)
        self.assertEqual(state.processes[-1].pid, 99999)

    def test_a_deadline_is_kept_and_told_to_the_handler(self):
        begin = time.monotonic()
        self.fails(grpc.StatusCode.DEADLINE_EXCEEDED, self.shim.Start, pb.StartRequest(),
                   timeout=0.2)
        self.assertLess(time.monotonic() - begin, 20)
        wait_until(lambda: self.shim.Inspect(pb.InspectRequest()).shim_pid == 1)

    def test_a_cancelled_call_is_told_to_the_handler(self):
        calls = [self.shim.Start.future(pb.StartRequest()) for _ in range(10)]
        wait_until(lambda: self.shim.Inspect(pb.InspectRequest()).id == "10")
        for call in calls:
            call.cancel()
        wait_until(lambda: self.shim.Inspect(pb.InspectRequest()).shim_pid == 10)

    def test_a_stream_comes_whole_and_in_order(self):
        for n in (0, 1, 50000):
            got = [w.number for w in self.shim.Watch(pb.WatchRequest(after=n), timeout=DEADLINE)]
            self.assertEqual(got, list(range(1, n + 1)))

    def test_a_stream_that_is_left_is_told_and_others_go_on(self):
        slow = self.shim.Watch(pb.WatchRequest(after=10 ** 9))
        self.assertEqual(next(slow).number, 1)
        self.shim.Create(pb.CreateRequest(), timeout=DEADLINE)
        slow.cancel()
        wait_until(lambda: self.shim.Inspect(pb.InspectRequest()).shim_pid == 1)

    def test_slow_calls_do_not_hold_up_quick_ones(self):
        slow = [self.shim.Delete.future(pb.DeleteRequest(pid=500), timeout=DEADLINE)
                for _ in range(50)]
        for _ in range(50):
            self.shim.Create(pb.CreateRequest(), timeout=DEADLINE)
        self.assertTrue(any(not s.done() for s in slow))
        for s in slow:
            s.result()

    def test_a_hundred_clients_at_once(self):
        wrong = []

        def client(n):
            channel = open_channel(self.path)
            try:
                shim = Shim(channel)
                for i in range(5):
                    if shim.Create(pb.CreateRequest(id="x" * n), timeout=DEADLINE).pid != n:
                        wrong.append((n, i))
                if next(shim.Events(pb.EventsRequest(), timeout=DEADLINE)).id != "c1":
                    wrong.append((n, "event"))
            except Exception as e:  # noqa: BLE001
                wrong.append((n, e))
            finally:
                channel.close()

        threads = [threading.Thread(target=client, args=(n,)) for n in range(100)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])

    def test_a_stream_is_ended_by_a_shutdown(self):
        stream = self.shim.Events(pb.EventsRequest(), timeout=DEADLINE)
        self.assertEqual(next(stream).id, "c1")
        self.shim.Exit(pb.ExitRequest(), timeout=DEADLINE)
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.server.wait(timeout=DEADLINE), 0)
        self.channel.close()
        self.start_server(self.path + "2")  # for tearDown


if __name__ == "__main__":
    unittest.main(verbosity=2)
