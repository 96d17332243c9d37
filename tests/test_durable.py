"""250 means kept: what the live processes ask of the kernel, in which order, for each 250."""

import concurrent.futures
import re

import pytest

import postern
import processes
import wire

KEPT = re.compile(r"250 2\.0\.0 Ok, kept as (\w+)")
WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")
SYNCS = ("fsync", "fdatasync")
SENDS = ("write", "writev", "sendto", "sendmsg")
WATCHED = ",".join(sorted(set(WRITES + SYNCS + SENDS)))
SESSIONS = 32


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with postern.Demo(tmp_path_factory.mktemp("durable") / "data") as demo:
        yield demo


class Trace:
    """What vault and edges wrote, synced and sent while `act` ran."""

    def __init__(self, server, path, act):
        self.vault, self.edges = processes.roles(server)["vault"], processes.edges(server)
        options = ["-f", "-v", "-yy", "-s", "4000000", "-e", f"trace={WATCHED}"]
        with processes.Strace([self.vault, *self.edges], *options, output=path):
            act()
        self.calls = [call for call in processes.read_trace(path) if call.end is not None]

    def of(self, pids, names, place):
        return [call for call in self.calls
                if call.pid in pids and call.name in names and place in call.on()]

    def wal_writes(self):
        return self.of([self.vault], WRITES, "-wal>")

    def wal_syncs(self):
        return [call for call in self.of([self.vault], SYNCS, "-wal>") if call.result == "0"]

    def kept(self):
        """(id, the edge's call that told the client) of each 250 to a message."""
        return [(match[1], call) for call in self.of(self.edges, SENDS, "<TCP")
                for match in KEPT.finditer(call.arguments)]

    def check(self, message_id, reply):
        """The edge asks -> the vault writes -> it syncs -> it answers -> the edge says 250."""
        asked = [call for call in self.of(self.edges, SENDS, "<UNIX")
                 if message_id in call.arguments and call.end < reply.start]
        assert asked, f"{message_id}: the vault was not asked"
        written = [call for call in self.wal_writes()
                   if message_id in call.arguments and call.start > asked[0].start]
        assert written and written[0].end < reply.start, f"{message_id}: 250 before it is written"
        synced = [call for call in self.wal_syncs() if call.start > written[0].end]
        assert synced and synced[0].end < reply.start, f"{message_id}: 250 before it is synced"
        answered = [call for call in self.of([self.vault], SENDS, "<UNIX")
                    if synced[0].end < call.start < reply.start]
        assert answered, f"{message_id}: the vault answered before it synced"


def test_each_250_comes_after_a_sync_of_what_it_promises(server, tmp_path):
    sizes = [1, 2000, 70_000, 300_000, 1_000_000, 500]

    def send():
        with wire.Smtp(server.address("smtp")) as client:
            client.greet()
            for size in sizes:
                reply = client.message(wire.message(wire.text(size))[0], ["alice@demo.test"])
                assert reply.startswith("250"), reply

    trace = Trace(server, tmp_path / "trace", send)
    kept = trace.kept()
    assert len(kept) == len(sizes)
    for message_id, reply in kept:
        trace.check(message_id, reply)
        last_write = [call for call in trace.wal_writes() if call.start < reply.start][-1]
        assert any(last_write.end < sync.start and sync.end < reply.start
                   for sync in trace.wal_syncs()), "a WAL write is not synced before the reply"


def test_lmtp_replies_come_after_the_sync_too(server, tmp_path):
    replies = []

    def send():
        with wire.Smtp(server.address("lmtp")) as client:
            assert client.reply().startswith("220")
            assert client.command("LHLO client.elsewhere.test").startswith("250")
            replies.append(client.message(wire.message()[0], ["alice@demo.test", "bob@demo.test"]))
            replies.append(client.reply())

    trace = Trace(server, tmp_path / "trace", send)
    assert [reply[:3] for reply in replies] == ["250", "250"]
    told = [call for call in trace.of(trace.edges, SENDS, "<TCP") if '"250 2.' in call.arguments][-1]
    last_write = [call for call in trace.wal_writes() if call.start < told.start][-1]
    assert any(last_write.end < sync.start and sync.end < told.start
               for sync in trace.wal_syncs())


def test_sessions_share_syncs(server, tmp_path):
    each = 8

    def send_some(_):
        with wire.Smtp(server.address("smtp")) as client:
            client.greet()
            for _ in range(each):
                reply = client.message(wire.message(wire.text(1000))[0], ["bob@demo.test"])
                assert reply.startswith("250"), reply

    def send():
        with concurrent.futures.ThreadPoolExecutor(SESSIONS) as pool:
            list(pool.map(send_some, range(SESSIONS)))

    trace = Trace(server, tmp_path / "trace", send)
    kept = trace.kept()
    assert len(kept) == SESSIONS * each
    for message_id, reply in kept:
        trace.check(message_id, reply)
    syncs = len(trace.wal_syncs())
    print(f"{len(kept)} messages of {SESSIONS} sessions, {syncs} syncs of the WAL")
    assert syncs < len(kept) / 2
