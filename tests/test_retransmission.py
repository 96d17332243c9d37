"""A lost reply makes no duplicate (RFC 1047); whatever else is sent twice arrives twice."""

import os
import signal

import pytest

import mail
import postern
import processes
import wire

ALICE, BOB, CAROL = (f"{name}@{postern.DOMAIN}" for name in ("alice", "bob", "carol"))


@pytest.fixture
def server(new_demo):
    return new_demo(users={**postern.USERS, "carol": "singer"})


def copies(server, message_id, user="alice"):
    conn = mail.imap(server, user)
    try:
        return len(mail.find(conn, message_id))
    finally:
        conn.logout()


def deliver(server, octets, recipients=(ALICE,), goodbye="QUIT"):
    """Sends it in a session of its own; the reply is read, and the server is shown that it was."""
    with wire.Smtp(server.address("smtp")) as client:
        reply = client.greet().message(octets, recipients)
        assert reply.startswith("250"), reply
        client.command(goodbye)


def lose_reply(server, octets, recipients=(ALICE,)):
    """Sends it; the client is gone before the reply can be sent. Returns when it has been kept."""
    vault = processes.wait_for_role(server, "vault")
    client = wire.Smtp(server.address("smtp")).greet()
    assert client.begin(recipients).startswith("354")
    os.kill(vault, signal.SIGSTOP)
    try:
        client.send(wire.stuffed(octets))
        mail.wait_until(lambda: processes.has_unread(vault))
        client.reset()
    finally:
        os.kill(vault, signal.SIGCONT)


def wait_until_kept(server, message_id, count=1, user="alice"):
    mail.wait_until(lambda: copies(server, message_id, user) == count)


def test_a_lost_reply_makes_no_duplicate(server):
    octets, message_id = wire.message()
    lose_reply(server, octets)
    wait_until_kept(server, message_id)
    deliver(server, octets)
    assert copies(server, message_id) == 1
    # That reply was seen: from now on it is mail like any other.
    deliver(server, octets)
    assert copies(server, message_id) == 2


def test_a_reply_that_nobody_acted_on_is_a_lost_one(server):
    octets, message_id = wire.message(wire.text(400_000))
    client = wire.Smtp(server.address("smtp")).greet()
    assert client.begin([ALICE]).startswith("354")
    client.send(wire.stuffed(octets) + b"QUIT\r\n")  # sent before the reply: proves nothing
    wait_until_kept(server, message_id)
    client.reset()
    for _ in range(3):
        with wire.Smtp(server.address("smtp")) as again:
            assert again.greet().message(octets, [ALICE]).startswith("250")
            again.reset()
    assert copies(server, message_id) == 1


def test_the_vault_crashes_between_commit_and_reply(server):
    octets, message_id = wire.message()
    vault = processes.wait_for_role(server, "vault")
    client = wire.Smtp(server.address("smtp")).greet()
    assert client.begin([ALICE]).startswith("354")
    with processes.Strace([vault], "-e", "trace=sendmsg", "-e",
                          "inject=sendmsg:signal=KILL:when=1") as killer:
        client.send(wire.stuffed(octets))
        reply = client.reply()
        assert reply.startswith("451 4."), reply
        assert killer.ended(20)
    processes.wait_for_role(server, "vault", other_than=vault)
    wait_until_kept(server, message_id)
    mail.wait_until(lambda: client.message(octets, [ALICE]).startswith("250"))
    assert copies(server, message_id) == 1


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_whole_server_restarts_between_commit_and_resend(server, end):
    octets, message_id = wire.message()
    lose_reply(server, octets)
    wait_until_kept(server, message_id)
    getattr(server, end)()
    server.start()
    deliver(server, octets)
    assert copies(server, message_id) == 1


def test_each_recipient_is_recognised_by_itself(server):
    octets, message_id = wire.message()
    lose_reply(server, octets, [ALICE, BOB])
    wait_until_kept(server, message_id, user="bob")
    # A subset of the first recipients, then one of them beside a new one.
    deliver(server, octets, [BOB])
    deliver(server, octets, [CAROL, ALICE])
    assert [copies(server, message_id, user) for user in ("alice", "bob", "carol")] == [1, 1, 1]


def test_another_sender_is_another_message(server):
    octets, message_id = wire.message()
    lose_reply(server, octets)
    wait_until_kept(server, message_id)
    with wire.Smtp(server.address("smtp")) as client:
        reply = client.greet().message(octets, [ALICE], sender="other@elsewhere.test")
        assert reply.startswith("250"), reply
    assert copies(server, message_id) == 2


def test_the_same_octets_twice_in_one_session_are_two_messages(server):
    octets, message_id = wire.message()
    with wire.Smtp(server.address("smtp")) as client:
        client.greet()
        for _ in range(2):
            assert client.message(octets, [ALICE]).startswith("250")
    assert copies(server, message_id) == 2


def test_pipelined_twice_they_are_two_messages_too(server):
    octets, message_id = wire.message()
    transaction = (f"MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<{ALICE}>\r\n".encode() +
                   b"BDAT %d LAST\r\n" % len(octets) + octets)
    with wire.Smtp(server.address("smtp")) as client:
        client.greet()
        client.send(2 * transaction)
        assert all(client.reply().startswith("250") for _ in range(6))
    assert copies(server, message_id) == 2


@pytest.mark.parametrize("goodbye", ["QUIT", "RSET", "NOOP"])
def test_after_a_confirmed_reply_it_is_a_new_message(server, goodbye):
    octets, message_id = wire.message()
    deliver(server, octets, goodbye=goodbye)
    deliver(server, octets)
    assert copies(server, message_id) == 2


@pytest.mark.parametrize("field", ["Message-ID", "Date"])
def test_what_does_not_name_itself_is_never_recognised(server, field):
    marker = f"marker{os.urandom(8).hex()}"
    octets, message_id = wire.message(f"{marker}\r\n".encode(), without=[field])

    def count():
        conn = mail.imap(server)
        conn.select("INBOX", readonly=True)
        found = conn.uid("SEARCH", "BODY", marker)[1][0]
        conn.logout()
        return len(found.split())

    lose_reply(server, octets)
    mail.wait_until(lambda: count() == 1)
    deliver(server, octets)
    assert count() == 2
