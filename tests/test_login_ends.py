"""Sessions end with the password that opened them, and others go on."""

import os
import poplib
import signal
import smtplib
import socket

import pytest

import mail
import postern
import processes
from test_cli import Cli

USER = "alice@demo.test"
WITHIN_S = 5  # a second or so, on a machine that is busy with other tests


@pytest.fixture
def home(new_demo):
    demo = new_demo()
    cli = Cli(demo.folder)
    phone = cli.json("password", "add", USER, "--label", "phone", "--generate")["password"]
    passwords = {"main": demo.users["alice"], "phone": phone}
    demo.passwords, demo.cli = passwords, cli
    return demo


def opened(kind, home, password):
    """A session, as soon as the server lets somebody in again."""
    def try_it():
        try:
            return kind(home, password)
        except (OSError, AssertionError, smtplib.SMTPException):
            return None
    return mail.wait_until(try_it)


def phone_id(home):
    return next(row["id"] for row in home.cli.json("password", "list", USER)
                if row["label"] == "phone")


class Imap:
    """Sits in IDLE."""

    def __init__(self, home, password):
        self.socket = socket.create_connection(home.address("imap"), 20)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()
        for line in (f"a LOGIN {USER} {home.passwords[password]}", "b SELECT INBOX", "c IDLE"):
            self.socket.sendall(line.encode() + b"\r\n")
            self.wait_for(b"+ " if "IDLE" in line else line[:1].encode() + b" OK")

    def wait_for(self, start):
        while not (line := self.lines.readline()).startswith(start):
            assert line and b" NO " not in line, line or "closed"

    def is_up(self):
        self.socket.sendall(b"DONE\r\nd NOOP\r\ne IDLE\r\n")
        for start in (b"c OK", b"d OK", b"+ "):
            self.wait_for(start)
        self.socket.sendall(b"DONE\r\nc IDLE\r\n")
        self.wait_for(b"e OK")
        self.wait_for(b"+ ")
        return True

    def wait_for_end(self):
        self.socket.settimeout(WITHIN_S)
        rest = self.lines.read()
        # Of an account that is disabled the mailroom hears twice, by the vault and the keeper.
        return rest.startswith((b"* BYE This login has ended", b"* BYE The account is closed"))


class Pop3:
    """Has a message marked for deletion."""

    def __init__(self, home, password):
        self.conn = poplib.POP3(*home.address("pop3"), timeout=20)
        self.conn.user(USER)
        self.conn.pass_(home.passwords[password])
        self.conn.dele(1)

    def is_up(self):
        return self.conn.noop().startswith(b"+OK")

    def wait_for_end(self):
        self.conn.sock.settimeout(WITHIN_S)
        return self.conn.file.read() == b""


class Submission:
    def __init__(self, home, password):
        self.conn = smtplib.SMTP_SSL(postern.HOST, home.port("submissions"), timeout=20,
                                     context=postern.tls_context())
        self.conn.login(USER, home.passwords[password])

    def is_up(self):
        assert self.conn.noop()[0] == 250
        return self.conn.mail(USER)[0] == 250 and self.conn.rset()[0] == 250

    def wait_for_end(self):
        self.conn.sock.settimeout(WITHIN_S)
        code, words = self.conn.getreply()
        return code == 421 and words.startswith(b"4.7.0 ") and b"login has ended" in words


def deliver(home, count=1):
    with mail.smtp(home) as conn:
        for _ in range(count):
            conn.send_message(mail.message(USER), to_addrs=[USER])


def count_messages(home):
    conn = mail.imap(home)
    count = int(conn.select("INBOX", readonly=True)[1][0])
    conn.logout()
    return count


CHANGES = {
    "changed": lambda home: home.cli("password", "set", USER, stdin="another\n"),
    "removed": lambda home: home.cli("password", "remove", USER, phone_id(home)),
    "disabled": lambda home: home.cli("account", "disable", USER),
}


@pytest.mark.parametrize("change, end", [("changed", {"main"}), ("removed", {"phone"}),
                                         ("disabled", {"main", "phone"})])
def test_sessions_end_with_their_password(home, change, end):
    deliver(home)
    sessions = [(password, kind(home, password)) for password in ("main", "phone")
                for kind in (Imap, Submission)]
    # One POP3 session at a time has the maildrop.
    popper = "main" if "main" in end else "phone"
    sessions.append((popper, Pop3(home, popper)))
    assert all(session.is_up() for _, session in sessions)
    CHANGES[change](home)
    for password, session in sessions:
        assert session.wait_for_end() if password in end else session.is_up(), (password, session)
    if change == "disabled":
        home.cli("account", "enable", USER)
    home.users["alice"] = "another" if change == "changed" else home.users["alice"]
    assert count_messages(home) == 1  # what POP3 marked is still there


def test_a_pop3_session_by_another_password_goes_on_and_deletes(home):
    deliver(home, 2)
    session = Pop3(home, "phone")
    CHANGES["changed"](home)
    home.users["alice"] = "another"
    assert session.is_up()
    session.conn.quit()
    assert count_messages(home) == 1


def test_a_new_password_opens_sessions_that_stay(home):
    for words in ("one", "two", "three"):
        home.cli("password", "set", USER, stdin=words + "\n")
        home.passwords["main"] = words
        session = Imap(home, "main")
        assert session.is_up()
    processes.kill_role(home, "keeper")
    assert opened(Submission, home, "phone").is_up() and session.is_up()


def test_what_is_not_accepted_yet_is_not_taken_and_what_is_is_answered(home):
    """The vault stands still: one message has been handed to it, the other has no dot yet."""
    vault = processes.roles(home)["vault"]
    owed, coming = Submission(home, "main").conn, Submission(home, "main").conn
    for conn in (owed, coming):
        assert conn.mail(USER)[0] == 250 and conn.rcpt(USER)[0] == 250
        conn.putcmd("data")
        assert conn.getreply()[0] == 354
    coming.send(mail.message(USER, USER).as_bytes().replace(b"\n", b"\r\n"))
    os.kill(vault, signal.SIGSTOP)
    try:
        owed.send(mail.message(USER, USER).as_bytes().replace(b"\n", b"\r\n") + b".\r\n")
        # Its accept is on the way when a session that began later can be heard to go on.
        mail.wait_until(lambda: Submission(home, "main").is_up())
        CHANGES["changed"](home)
        mail.wait_until(lambda: home.log().count("event=login-ended") >= 2)
        coming.send(b".\r\n")
        assert coming.getreply()[0] == 421
    finally:
        os.kill(vault, signal.SIGCONT)
    code, words = owed.getreply()
    assert code == 250, words
    assert owed.getreply()[0] == 421
    home.users["alice"] = "another"
    assert count_messages(home) == 1


def test_a_login_under_way_while_the_password_changes_is_not_let_in(home):
    mailroom = processes.roles(home)["mailroom"]
    os.kill(mailroom, signal.SIGSTOP)
    try:
        with socket.create_connection(home.address("imap"), 20) as client:
            lines = client.makefile("rb")
            lines.readline()
            client.sendall(f"a LOGIN {USER} {home.passwords['main']}\r\n".encode())
            mail.wait_until(lambda: "role=keeper event=login " in home.log())
            CHANGES["changed"](home)
            os.kill(mailroom, signal.SIGCONT)
            line = lines.readline()
            assert line.startswith(b"a NO"), line
    finally:
        os.kill(mailroom, signal.SIGCONT)


@pytest.mark.parametrize("restarted", [["keeper"], ["vault"], ["keeper", "vault"]])
def test_a_restart_in_between_brings_no_session_back(home, restarted):
    """Other sessions live on, and the ended ones are not forgotten."""
    kept, submission = Imap(home, "phone"), Submission(home, "phone")
    ended = Imap(home, "main")
    CHANGES["changed"](home)
    assert ended.wait_for_end()
    for role in restarted:
        pid = processes.kill_role(home, role)
        processes.wait_for_role(home, role, other_than=pid)
    home.passwords["main"] = "another"
    opened(Imap, home, "main")
    assert kept.is_up() and submission.is_up()
    home.cli("password", "remove", USER, phone_id(home))
    assert kept.wait_for_end() and submission.wait_for_end()
