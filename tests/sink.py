"""bench/smtp_sink.c: a server that takes everything, and what it has noted of it."""

import subprocess
import tempfile
import time
from pathlib import Path

import peers
import postern

PROGRAM = postern.PROGRAM.parent / "smtp_sink"


class Sink:
    def __init__(self, host="127.0.0.1", port=None):
        self.home = tempfile.TemporaryDirectory(prefix="postern-sink-")
        self.log = Path(self.home.name) / "log"
        self.host, self.port = host, port or peers.free_port()
        self.process = subprocess.Popen([PROGRAM, host, str(self.port), self.log])
        peers.wait_for_port(self.port, self.process, host=host)

    def count(self):
        """How many messages it has, repeats included."""
        with open(self.log, "rb") as log:
            return sum(piece.count(b"\n") for piece in iter(lambda: log.read(1 << 20), b""))

    def lines(self):
        """(microseconds, Message-ID, [recipients]) of each message, in order."""
        for line in self.log.read_text().splitlines():
            at, message_id, *recipients = line.split()
            yield int(at), message_id, recipients

    def times(self):
        """{Message-ID: microseconds} of when it first had each."""
        found = {}
        for at, message_id, _ in self.lines():
            found.setdefault(message_id, at)
        return found

    def wait_for(self, count, seconds=600):
        """Until it has so many, or the time is over."""
        deadline = time.monotonic() + seconds
        while self.count() < count and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self):
        """Takes no more; all that it had is in its notes."""
        peers.stop_process(self.process)

    def close(self):
        self.stop()
        self.home.cleanup()
