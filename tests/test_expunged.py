"""What was expunged stays for second thoughts, but nobody fills the disk with it."""

import contextlib
import os
import poplib
import random
import signal
import sqlite3
import subprocess

import pytest

import mail
import postern
import processes

QUOTA = 2_000_000
SIZE = 100_000
ROW = 1024  # what an expunged message counts besides its octets


@pytest.fixture
def server(new_demo):
    demo = new_demo()
    quota(demo, "alice@demo.test", QUOTA)
    return demo


def quota(demo, account, size):
    subprocess.run([postern.PROGRAM, "account", "quota", account, str(size), "--config",
                    demo.folder / "postern.conf"], check=True, capture_output=True)


def octets(seed):
    """A body that does not compress."""
    words = random.Random(seed).randbytes(SIZE * 3 // 8).hex()
    lines = [words[at:at + 76] for at in range(0, len(words), 76)]
    return f"Subject: {seed}\r\n\r\n" + "\r\n".join(lines) + "\r\n"


def look(demo, sql):
    with sqlite3.connect(f"file:{demo.folder}/store/postern.db?mode=ro", uri=True) as db:
        return db.execute(sql).fetchone()[0]


def wait_until_within(demo):
    mail.wait_until(lambda: look(demo, "SELECT count(*) FROM account WHERE quota > 0 "
                                       "AND expunged > quota") == 0)


def stored(demo):
    """Octets of all bodies."""
    return look(demo, "SELECT coalesce(sum(length(data)), 0) FROM chunk")


def append(conn, seed, mailbox="INBOX"):
    assert conn.append(mailbox, None, None, octets(seed).encode())[0] == "OK"


def expunge_all(conn):
    conn.select()
    assert conn.store("1:*", "+FLAGS.SILENT", r"\Deleted")[0] == "OK"
    assert conn.expunge()[0] == "OK"


def test_appending_and_expunging_fills_no_disk_beyond_the_quota_and_as_much_again(server):
    bob = mail.imap(server, "bob")
    append(bob, "kept")
    append(bob, "expunged")
    bob.select()
    bob.store("2", "+FLAGS", r"\Deleted")
    bob.expunge()
    others = stored(server)
    alice = mail.imap(server)
    append(alice, "mine", "Sent")
    most = 0
    for n in range(100):  # five times the quota
        append(alice, n)
        expunge_all(alice)
        most = max(most, stored(server) - others)
    wait_until_within(server)
    # Half of SIZE is what hexadecimal digits can be compressed to: as much as fits is still there.
    assert look(server, "SELECT count(*) FROM entry JOIN account ON account.id = expunged_account "
                        "WHERE quota > 0") >= QUOTA // (SIZE + ROW) - 2
    assert look(server, "SELECT sum(size) FROM entry WHERE expunged_account = "
                        "(SELECT id FROM account WHERE quota > 0)") <= QUOTA
    assert most <= 2 * QUOTA
    # What was there before is untouched.
    assert look(server, "SELECT count(*) FROM entry WHERE expunged_account = "
                        "(SELECT id FROM account WHERE name LIKE 'bob%')") == 1
    status, data = bob.fetch("1", "(BODY[])")
    assert data[0][1] == octets("kept").encode()
    alice.select("Sent")
    assert alice.fetch("1", "(BODY[])")[1][0][1] == octets("mine").encode()
    alice.logout()
    bob.logout()


def test_mail_delivered_and_deleted_over_pop3_is_bounded_too(server):
    with mail.smtp(server) as client:
        for n in range(60):
            client.sendmail("a@example.org", ["alice@demo.test"], octets(n))
            pop = poplib.POP3_SSL(*server.address("pop3s"), context=postern.tls_context())
            pop.user("alice@demo.test")
            pop.pass_(postern.USERS["alice"])
            pop.dele(1)
            pop.quit()
    wait_until_within(server)
    assert look(server, "SELECT sum(size) FROM entry") <= QUOTA


def test_mailboxes_filled_and_deleted_are_bounded_too(server):
    alice = mail.imap(server)
    for n in range(50):
        alice.create("Box")
        append(alice, n, "Box")
        assert alice.delete("Box")[0] == "OK"
    wait_until_within(server)
    assert look(server, "SELECT sum(size) FROM entry") <= QUOTA
    alice.logout()


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_session_hears_of_an_expunge_whose_message_is_gone_for_good_already(server):
    one, other, third = (mail.imap(server) for _ in range(3))
    roles = processes.roles(server)
    for n in range(3):
        append(one, n)
    quota(server, "alice@demo.test", 1)  # nothing may be left behind
    other.select()
    one.select()
    one.store("1,3", "+FLAGS.SILENT", r"\Deleted")
    other.noop()
    with stopped(roles["vault"]):
        one.send(b"X1 EXPUNGE\r\n")
        for _ in range(3):  # by the third the mailroom has passed it on
            third.noop()
        os.kill(roles["mailroom"], signal.SIGSTOP)
    try:
        mail.wait_until(lambda: look(server, "SELECT count(*) FROM entry") == 1)
    finally:
        os.kill(roles["mailroom"], signal.SIGCONT)
    while not one.readline().startswith(b"X1 OK"):
        pass
    other.untagged_responses.clear()
    other.noop()
    assert other.untagged_responses["EXPUNGE"] == [b"3", b"1"]
    assert other.fetch("1", "(BODY[])")[1][0][1] == octets(1).encode()
    for session in (one, other, third):
        session.logout()
