"""Who may send to anywhere, who may send as whom, and what of a wish is kept or refused."""

import socket
import struct
import subprocess

import pytest

import mail
import postern
import processes
import relay
import served
import wire

STRANGER = "198.51.100.1"
USER = 64321  # of this machine, and not root
ROUTING = ["bob@elsewhere.test", "bob@[192.0.2.1]", "bob@[IPv6:2001:db8::1]", "alice@mx.demo.test",
           "bob%elsewhere.test@demo.test", "elsewhere.test!bob@demo.test",
           '"bob@elsewhere.test"@demo.test', "@demo.test:bob@elsewhere.test",
           '"bob%elsewhere.test"@demo.test', "bob%elsewhere.test@[127.0.0.1]"]


@pytest.fixture(scope="module")
def lab():
    """Nobody answers where its mail goes: it stays in the queue, to be looked at. (A domain that
    does not exist would have it back at once.)"""
    with relay.Lab({"retry": "1h"}) as one:
        one.records("elsewhere.test. MX 10 mx.elsewhere.test.",
                    f"mx.elsewhere.test. A {one.address()}")
        for alias, *members in (("away", "someone@elsewhere.test"),
                                ("both", "alice@demo.test", "someone@elsewhere.test"),
                                ("team", "alice@demo.test", "bob@demo.test"),
                                ("me", "alice@demo.test")):
            one.run("alias", "add", f"{alias}@demo.test", *members)
        one.server.config_text += "listen sendmail unix:" + str(
            one.server.config.parent / "sendmail") + "\n"
        one.server.stop()
        one.server.start()
        yield one


def stranger(lab):
    """A client of somewhere in the world."""
    addresses = socket.inet_aton(STRANGER) + socket.inet_aton("127.0.0.1")
    header = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12) + addresses +
              struct.pack("!HH", 4321, 25))
    return wire.Smtp((postern.HOST, lab.server.base + served.PROXIED), before=header)


@pytest.mark.parametrize("sender", ["someone@elsewhere.test", "alice@demo.test", ""])
@pytest.mark.parametrize("recipient", ROUTING)
def test_a_stranger_sends_nothing_on(lab, sender, recipient):
    with stranger(lab) as client:
        client.greet()
        assert client.command(f"MAIL FROM:<{sender}>").startswith("250")
        assert client.command(f"RCPT TO:<{recipient}>").startswith("550 5."), recipient
        assert client.command("RCPT TO:<alice@demo.test>").startswith("250")


@pytest.mark.parametrize("recipient", ROUTING)
def test_lmtp_sends_nothing_on(lab, recipient):
    with wire.Smtp(lab.server.address("lmtp")) as client:
        assert client.reply().startswith("220")
        assert client.command("LHLO front.test").startswith("250")
        assert client.command("MAIL FROM:<someone@elsewhere.test>").startswith("250")
        assert client.command(f"RCPT TO:<{recipient}>").startswith("550 5."), recipient


@pytest.mark.parametrize("recipient", ROUTING[3:9])
def test_not_even_who_may_relay_routes_by_local_parts(lab, recipient):
    with wire.Smtp(lab.server.address("smtp")) as client:
        client.greet()
        assert client.command("MAIL FROM:<someone@elsewhere.test>").startswith("250")
        assert client.command(f"RCPT TO:<{recipient}>").startswith("550 5."), recipient


def test_an_alias_sends_strangers_mail_on(lab):
    octets, _ = wire.message()
    with stranger(lab) as client:
        assert client.greet().message(octets, ["both@demo.test"], "carol@far.test").startswith("250")
    [row] = [row for row in lab.waiting() if row.recipient == "someone@elsewhere.test"]
    assert row.destination == "dns:elsewhere.test"
    store = lab.store()
    sender = store.execute("SELECT sender FROM outgoing WHERE id = ?", (row.outgoing,)).fetchone()
    assert sender[0] == b"carol@far.test"
    store.close()
    assert any(message["Return-Path"] == "<carol@far.test>" for message in lab.inbox())


@pytest.mark.parametrize("address, own", [("me", True), ("alice", True), ("alice+x", True),
                                          ("team", False), ("both", False), ("bob", False)])
def test_nobody_speaks_for_a_group(lab, address, own):
    with wire.Smtp(lab.server.address("submissions"), tls=True) as client:
        client.greet()
        assert client.command("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=").startswith("235")
        reply = client.command(f"MAIL FROM:<{address}@demo.test>")
        assert reply.startswith("250" if own else "550 5.7.1"), reply


def test_the_trace_tells_what_was_asked(lab):
    sent, reply = lab.submit(
        "bob@elsewhere.test", body=b"\xe9\r\n",
        mail_args="ENVID=a+2Bb BY=7200;N MT-PRIORITY=-3 HOLDFOR=60 REQUIRETLS")
    assert reply.startswith("250"), reply
    [(step, words)] = [each for each in lab.trace(sent) if each[0] == "accepted"]
    for word in ("envid=a+b", "body=8BITMIME", "requiretls", "hold=60s", "by=7260s notify",
                 "priority=-3", "to=bob@elsewhere.test"):
        assert word in words, (word, words)


def test_sendmail_sends_on(lab):
    done = subprocess.run([postern.PROGRAM, "sendmail", "-C", lab.server.config, "-N", "never",
                           "far@elsewhere.test"], input=b"Subject: x\n\nx\n", capture_output=True,
                          timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    [row] = [row for row in lab.waiting() if row.recipient == "far@elsewhere.test"]
    assert row.notify == 1


def test_sendmail_counts_by_user(lab):
    """Everybody but root has a limit of a day, as accounts have."""
    processes.needs_root("be somebody else")
    def count():
        with lab.store() as store:
            rows = store.execute("SELECT account, recipients FROM sent WHERE account < 0")
            return dict(rows.fetchall())
    before = count()
    done = subprocess.run([lab.server.public_program(), "sendmail", "-C", lab.server.config,
                           "one@elsewhere.test", "two@elsewhere.test"], input=b"Subject: x\n\nx\n",
                          capture_output=True, timeout=60, user=USER, group=USER, extra_groups=[])
    assert (done.returncode, done.stderr) == (0, b"")
    assert (before, count()) == ({}, {-1 - USER: 2})


def test_a_lost_reply_sends_nothing_twice(lab):
    """Promise 3 holds for what goes on, too (RFC 1047)."""
    octets, _ = wire.message()
    lost = wire.Smtp(lab.server.address("smtp"))
    assert lost.greet().begin(["twice@elsewhere.test"]).startswith("354")
    lost.send(wire.stuffed(octets))

    def rows():
        return [row for row in lab.waiting() if row.recipient == "twice@elsewhere.test"]
    mail.wait_until(rows)
    lost.reset()
    with wire.Smtp(lab.server.address("smtp")) as again:
        again.greet()
        assert again.message(octets, ["twice@elsewhere.test"]).startswith("250")
        assert len(rows()) == 1
        # A second message with the same octets, from who has had its 250, is a second message.
        assert again.message(octets, ["twice@elsewhere.test"]).startswith("250")
        assert len(rows()) == 2
