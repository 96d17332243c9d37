"""Several edges hold strangers to the limits as one would: none of them, and no two together, let
anybody have more."""

import base64
import contextlib
import os
import signal
import time

import pytest

import mail
import processes
import served
import wire

ALICE = "alice@demo.test"
EDGES = 2


class House(served.Served):
    """A server with two edges, of which a test can say who is to take the next connections."""

    def __init__(self, *limits):
        super().__init__("\n".join(limits), extra=f"processes edge {EDGES}")

    def edges(self):
        running = processes.roles(self)
        return [running["edge"], running["edge 1"]]

    @contextlib.contextmanager
    def only(self, index):
        """Meanwhile the other edge stands still, with what it has."""
        other = self.edges()[1 - index]
        os.kill(other, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(other, signal.SIGCONT)

    def connect(self, index, stack=None, source=None, service="smtp"):
        """A client of that edge, with its greeting; stays open as long as the stack, if any."""
        with self.only(index), contextlib.ExitStack() as own:
            client = (stack or own).enter_context(wire.Smtp(self.address(service), source=source))
            return client, client.reply()


@pytest.fixture
def house():
    with contextlib.ExitStack() as stack:
        yield lambda *limits: stack.enter_context(House(*limits))


def test_connections_of_an_address_count_at_all_edges_together(house):
    server = house("connections-per-address 5")
    with contextlib.ExitStack() as stack:
        for edge in (0, 1, 1, 0, 1):
            assert server.connect(edge, stack)[1].startswith("220")
        for edge in range(EDGES):
            assert server.connect(edge)[1].startswith("421 4.7.0")
            assert server.connect(edge, source="127.0.0.9")[1].startswith("220")
    # Those that ended count no more, at either.
    for edge in range(EDGES):
        mail.wait_until(lambda edge=edge: server.connect(edge)[1].startswith("220"))


def test_new_connections_a_minute_count_at_all_edges_together(house):
    server = house("connection-rate 6")
    begun = time.monotonic()
    greetings = [server.connect(edge, source="127.0.0.7")[1][:9] for edge in (1, 0, 0, 1, 1, 0)]
    assert greetings == ["220 mx.de"] * 6
    refused = [server.connect(edge, source="127.0.0.7")[1][:9] for edge in (0, 1)]
    assert refused == ["421 4.7.0"] * 2 or time.monotonic() - begun > 60
    assert server.connect(0, source="127.0.0.8")[1].startswith("220")


def test_all_connections_have_one_limit(house):
    server = house("connections 6")
    with contextlib.ExitStack() as stack:
        held = [server.connect(edge, stack) for edge in (0, 1, 1, 0, 1, 1)]
        assert all(greeting.startswith("220") for _, greeting in held)
        seventh = stack.enter_context(wire.Smtp(server.address("smtp")))
        # It waits where the kernel has it: neither edge has room.
        seventh.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            seventh.reply()
        seventh.socket.settimeout(wire.TIMEOUT_S)
        held[1][0].socket.close()
        assert seventh.reply().startswith("220")


def fill_bodies(server, stack, source):
    """Clients of both edges that have begun a message, as many as are let."""
    under_way = []
    while True:
        edge = len(under_way) % EDGES
        with server.only(edge):
            client = stack.enter_context(wire.Smtp(server.address("smtp"), source=source)).greet()
        reply = client.begin([ALICE])
        if reply.startswith("452 4.3.1"):
            return under_way
        assert reply.startswith("354"), reply
        under_way.append(client)
        assert len(under_way) < 50, "there is no end to it"


def test_bodies_in_flight_have_one_budget_and_each_address_a_share(house):
    """Of 8 MiB, which are 42 messages that begin: half of them, then a quarter each."""
    server = house("bodies-in-flight 8M")
    octets, _ = wire.message()
    with contextlib.ExitStack() as stack:
        sources = ("127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8")
        begun = [fill_bodies(server, stack, source) for source in sources]
        counts = [len(clients) for clients in begun]
        assert 19 <= counts[0] <= 21
        assert 9 <= counts[1] <= 10
        assert 37 <= sum(counts) <= 42
        # One that is finished makes room for one more of those who have less than their share.
        clients = [stack.enter_context(wire.Smtp(server.address("smtp"), source=source)).greet()
                   for source in ("127.0.0.5", "127.0.0.9")]
        assert clients[1].begin([ALICE]).startswith("452 4.3.1")
        assert clients[1].command("RSET").startswith("250")
        begun[1][0].send(wire.stuffed(octets))
        assert begun[1][0].reply().startswith("250")
        assert clients[0].begin([ALICE]).startswith("452 4.3.1")
        assert clients[1].begin([ALICE]).startswith("354")


def test_an_account_has_its_share_of_the_budget_wherever_it_comes_from(house):
    server = house("bodies-in-flight 4M")
    with contextlib.ExitStack() as stack:
        def begin(name, number):
            address, source = f"{name}@demo.test", f"127.0.0.{5 + number}"
            with server.only(number % EDGES):
                client = stack.enter_context(
                    wire.Smtp(server.address("submissions"), source=source, tls=True)).greet()
            password = server.users[name]
            plain = base64.b64encode(f"\0{address}\0{password}".encode()).decode()
            assert client.command(f"AUTH PLAIN {plain}").startswith("235")
            return client.begin([ALICE], sender=address)[:9]
        replies = [begin("alice", number) for number in range(14)]
        assert replies.count("452 4.3.1") in (3, 4) and replies[-3:] == ["452 4.3.1"] * 3
        # Somebody else has his own, also where the address is the same.
        assert [begin("bob", number)[:3] for number in range(5)] == ["354"] * 5


def test_what_an_edge_had_is_free_when_it_is_killed(house):
    server = house("connections-per-address 4", "connections 8")
    with contextlib.ExitStack() as stack:
        for edge in (1, 1, 1, 0):
            assert server.connect(edge, stack)[1].startswith("220")
        assert server.connect(0)[1].startswith("421 4.7.0")
        killed = server.edges()[1]
        os.kill(killed, signal.SIGKILL)
        processes.wait_for_role(server, "edge 1", other_than=killed)
        server.wait_for_event("child-ready", child="edge", index="1",
                              pid=str(server.edges()[1]))
        # Three places, taken at the new one as at the old.
        for edge in (0, 1, 0):
            assert server.connect(edge, stack)[1].startswith("220")
        for edge in range(EDGES):
            assert server.connect(edge)[1].startswith("421 4.7.0")


def test_an_edge_that_reloads_goes_on_counting(house):
    server = house("connections-per-address 3")
    with contextlib.ExitStack() as stack:
        for edge in (0, 1):
            assert server.connect(edge, stack)[1].startswith("220")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_event("reloaded")
        assert server.connect(1, stack)[1].startswith("220")
        for edge in range(EDGES):
            assert server.connect(edge)[1].startswith("421 4.7.0")
