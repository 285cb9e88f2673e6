"""The shim's service for tests in Python: message classes made for the run, a stub, waiting.

    from shim_client import Shim, grpc, pb, wait_until, DEADLINE
"""
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time

try:
    import grpc
except ImportError:
    print("python3-grpcio is not installed", file=sys.stderr)
    sys.exit(1 if os.environ.get("STRICT") else 77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("BIN", os.path.join(ROOT, "build/ci/bin"))
TESTBIN = os.environ.get("TESTBIN", os.path.join(ROOT, "build/ci/tests"))
DEADLINE = 60  # seconds, generous: nothing here takes long

_work = tempfile.mkdtemp(prefix="shim-client-")
atexit.register(shutil.rmtree, _work)
subprocess.run(["protoc", "--proto_path=" + os.path.join(ROOT, "proto"), "--python_out=" + _work,
                os.path.join(ROOT, "proto/shim.proto")], check=True)
sys.path.insert(0, _work)
import shim_pb2 as pb  # noqa: E402,F401


class Shim:
    """What a generated stub would be: one attribute a method."""

    def __init__(self, channel):
        service = pb.DESCRIPTOR.services_by_name["Shim"]
        for m in service.methods:
            make = channel.unary_stream if m.name in ("Events", "Watch") else channel.unary_unary
            setattr(self, m.name, make(
                "/%s/%s" % (service.full_name, m.name),
                request_serializer=lambda q: q.SerializeToString(),
                response_deserializer=getattr(pb, m.output_type.name).FromString))


def open_channel(path):
    """Of its own: channels of one target would share a connection otherwise."""
    return grpc.insecure_channel("unix:" + path, options=[
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", 16 << 20),
        ("grpc.max_send_message_length", 16 << 20)])


def wait_until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("did not happen")
        time.sleep(0.005)
