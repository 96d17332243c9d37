"""As in the world: two machines (network namespaces) with addresses of their own, port 25, MX from
the DNS at port 53, IPv4 and IPv6, and a configuration that leaves all of that as it is."""

import contextlib
import ctypes
import os
import subprocess

import pytest

import dns
import mail
import peer
import processes
import relay
import served
import wire

CLONE_NEWNET = 0x40000000
HERE, THERE = "192.0.2.1", "192.0.2.2"
HERE6, THERE6 = "2001:db8::1", "2001:db8::2"


def ip(*words):
    processes.needs_root("make networks")
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Namespace:
    def __init__(self, name):
        self.name = f"postern-{os.getpid()}-{name}"
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")

    @contextlib.contextmanager
    def inside(self):
        """This thread, and what it starts and opens, is there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as before, \
                open(f"/run/netns/{self.name}") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(before.fileno(), CLONE_NEWNET) == 0

    def close(self):
        ip("netns", "del", self.name)


@pytest.fixture(scope="module")
def net():
    here, there = Namespace("here"), Namespace("there")
    cable = f"po{os.getpid()}"
    ip("-n", here.name, "link", "add", f"{cable}a", "type", "veth", "peer", "name", f"{cable}b",
       "netns", there.name)
    for namespace, end, four, six in ((here, "a", HERE, HERE6), (there, "b", THERE, THERE6)):
        ip("-n", namespace.name, "addr", "add", f"{four}/24", "dev", f"{cable}{end}")
        ip("-n", namespace.name, "addr", "add", f"{six}/64", "dev", f"{cable}{end}", "nodad")
        ip("-n", namespace.name, "link", "set", f"{cable}{end}", "up")
    yield here, there
    here.close()
    there.close()


@pytest.fixture(scope="module")
def world(net):
    here, there = net
    dns.unpacked_nsd()  # while there is still a way to Debian
    with contextlib.ExitStack() as stack:
        with there.inside():
            names = stack.enter_context(dns.Dns(host=THERE, port=53))
            four = stack.enter_context(peer.Peer(THERE, 25))
            six = stack.enter_context(peer.Peer(THERE6, 25))
        with here.inside():
            server = stack.enter_context(served.Served(
                extra=f"listen mx {HERE}:25\nrelay-from 127.0.0.0/8\n{names.resolver()}"))
        yield here, server, names, four, six


def deliver(server, recipient):
    octets, message_id = wire.message()
    with wire.Smtp(server.address("smtp")) as client:
        reply = client.greet().message(octets, [recipient], relay.SENDER)
        assert reply.startswith("250"), reply
    return message_id


def wait_for_report(server, message_id):
    conn = mail.imap(server)

    def reported():
        conn.select("INBOX", readonly=True)
        _, found = conn.uid("SEARCH", "TEXT", message_id.strip("<>"))
        return found[0].split()
    return mail.fetch(conn, mail.wait_until(reported)[0])


def test_port_25_and_mx_over_ipv4_and_ipv6(world):
    here, server, names, four, six = world
    with here.inside():
        names.add("four.test. MX 10 mx.four.test.", f"mx.four.test. A {THERE}",
                  "six.test. MX 10 mx.six.test.", f"mx.six.test. AAAA {THERE6}")
        names.publish()
        ids = [deliver(server, "bob@four.test"), deliver(server, "bob@six.test")]
    four.wait_for_messages(1)
    six.wait_for_messages(1)
    assert [four.messages[0].message_id(), six.messages[0].message_id()] == ids


def test_an_mx_with_our_address_is_a_loop(world):
    here, server, names, _, _ = world
    with here.inside():
        names.add("loop.test. MX 10 mx.loop.test.", f"mx.loop.test. A {HERE}")
        names.publish()
        assert b"5.4.6" in wait_for_report(server, deliver(server, "bob@loop.test"))


def test_loopback_is_never_gone_to(world):
    here, server, names, _, _ = world
    with here.inside(), peer.Peer("127.0.0.1", 25) as trap:
        names.add("trap.test. MX 10 mx.trap.test.", "mx.trap.test. A 127.0.0.1")
        names.publish()
        wait_for_report(server, deliver(server, "bob@trap.test"))
        assert not trap.sessions
