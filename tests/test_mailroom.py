"""What the mailroom makes of IMAP and POP3 after login: store, changes seen by others, search."""

import imaplib
import os
import poplib
import re
import signal
import smtplib
import socket
import sqlite3
import subprocess
import threading
import time
import uuid

import pytest

import mail
import postern
import processes

imaplib._MAXLINE = 10_000_000


def append(conn, words=b"x\r\n", mailbox="INBOX", subject=b"s", flags=None):
    status, data = conn.append(mailbox, flags, None, b"Subject: " + subject + b"\r\n\r\n" + words)
    assert status == "OK", data
    return int(re.search(rb"APPENDUID \d+ (\d+)", data[0])[1])


@pytest.fixture
def box(demo):
    """A selected mailbox of the test's own, and its name."""
    conn = mail.imap(demo)
    name = f"box-{uuid.uuid4()}"
    conn.create(name)
    conn.select(name)
    conn.name = name
    yield conn
    conn.logout()


def untagged(conn, until):
    """Reads lines until one matches; for IDLE."""
    conn.socket().settimeout(10)
    while True:
        line = conn.readline()
        if re.search(until, line):
            return line


def lines_until(conn, tag):
    """What is said up to the end of the command with that tag."""
    while True:
        line = conn.readline()
        assert line
        yield line
        if line.startswith(tag + b" "):
            return


def test_idle_hears_of_every_kind_of_change(demo, box):
    other = mail.imap(demo)
    other.select(box.name)
    box.send(b"X1 IDLE\r\n")
    untagged(box, rb"^\+")
    append(other, mailbox=box.name)
    untagged(box, rb"^\* 1 EXISTS")
    other.store("1", "+FLAGS", r"(\Flagged $Label)")
    untagged(box, rb"FETCH .*\\Flagged.*\$Label")
    other.store("1", "+FLAGS", r"\Deleted")
    other.expunge()
    untagged(box, rb"^\* 1 EXPUNGE")
    box.send(b"DONE\r\n")
    untagged(box, rb"^X1 OK")
    other.logout()


def test_a_store_on_top_of_anothers_in_one_commit_leaves_neither_in_the_dark(new_demo):
    demo = new_demo()
    one, other, third = (mail.imap(demo) for _ in range(3))
    append(one)
    append(one)
    one.select()
    other.select()
    for conn in one, other:
        conn.noop()
    vault = processes.roles(demo)["vault"]
    os.kill(vault, signal.SIGSTOP)
    try:
        one.send(b"X1 STORE 1 +FLAGS (\\Flagged)\r\n")
        for _ in range(3):  # by the third the mailroom has passed it on
            third.noop()
        other.send(b"X2 STORE 1:2 +FLAGS.SILENT (\\Answered)\r\n")
        for _ in range(3):
            third.noop()
    finally:
        os.kill(vault, signal.SIGCONT)
    # Both are told that it has both: the second too, who asked not to hear of what he did himself.
    for conn, tag in (one, b"X1"), (other, b"X2"):
        said = b"".join(lines_until(conn, tag))
        conn.send(tag + b"N NOOP\r\n")
        said += b"".join(lines_until(conn, tag + b"N"))
        told = re.findall(rb"\* 1 FETCH .*?FLAGS \(([^)]*)\)", said)
        assert {rb"\Flagged", rb"\Answered"} <= set(told[-1].split()), said
    for conn in one, other, third:
        conn.logout()


def test_a_commit_whose_news_died_with_the_vault_is_seen_all_the_same(new_demo):
    demo = new_demo()
    conn = mail.imap(demo)
    conn.select()
    vault = processes.roles(demo)["vault"]
    message = mail.message("alice@demo.test")
    with processes.Strace([vault], "-e", "trace=sendmsg", "-e",
                          "inject=sendmsg:signal=KILL:when=1") as killer:
        with mail.smtp(demo) as client:
            with pytest.raises(smtplib.SMTPException):
                client.send_message(message)
        assert killer.ended(20)
    processes.wait_for_role(demo, "vault", other_than=vault)
    conn.send(b"X1 IDLE\r\n")
    untagged(conn, rb"^\* 1 EXISTS")
    conn.send(b"DONE\r\n")
    untagged(conn, rb"^X1 OK")
    conn.logout()


def test_a_session_outlives_its_keeper_and_then_the_vault(new_demo):
    demo = new_demo()
    conn = mail.imap(demo)
    for role in ("keeper", "vault"):
        pid = processes.roles(demo)[role]
        os.kill(pid, signal.SIGKILL)
        processes.wait_for_role(demo, role, other_than=pid)
    mail.wait_until(lambda: conn.create("Kept")[0] == "OK")
    conn.logout()


def test_an_account_disabled_during_a_login_is_not_let_in(new_demo):
    demo = new_demo()
    mailroom = processes.roles(demo)["mailroom"]
    os.kill(mailroom, signal.SIGSTOP)
    with socket.create_connection(demo.address("imap"), 20) as client:
        lines = client.makefile("rb")
        lines.readline()
        client.sendall(b"a LOGIN bob@demo.test builder\r\n")
        mail.wait_until(lambda: "role=keeper event=login " in demo.log())
        subprocess.run([postern.PROGRAM, "account", "disable", "bob@demo.test", "--config",
                        demo.folder / "postern.conf"], check=True, timeout=60)
        os.kill(mailroom, signal.SIGCONT)
        assert not lines.readline().startswith(b"a OK")


def test_a_deleted_mailbox_ends_its_sessions(demo, box):
    other = mail.imap(demo)
    assert other.delete(box.name)[0] == "OK"
    with pytest.raises(imaplib.IMAP4.abort):
        box.noop()
        box.noop()
    other.logout()
    box.logout = lambda: None


def test_bulk_changes_reach_every_message(box):
    for n in range(4):
        append(box, b"message %d\r\n" % n, box.name)
    box.noop()
    for _ in range(9):
        assert box._simple_command("COPY", "1:*", box.name)[0] == "OK"
        box.noop()
    assert box.select(box.name)[1] == [b"2048"]
    assert box.store("1:*", "+FLAGS.SILENT", r"(\Seen $All)")[0] == "OK"
    assert len(box.search(None, "KEYWORD", "$All")[1][0].split()) == 2048
    box.store("2:2047", "+FLAGS.SILENT", r"\Deleted")
    assert box.expunge()[0] == "OK"
    assert box.status(box.name, "(MESSAGES UNSEEN)")[1][0].endswith(b"(MESSAGES 2 UNSEEN 0)")
    box.create(box.name + "/target")
    assert box._simple_command("MOVE", "1:*", box.name + "/target")[0] == "OK"
    assert box.status(box.name, "(MESSAGES)")[1][0].endswith(b"(MESSAGES 0)")
    assert box.select(box.name + "/target")[1] == [b"2"]


def test_large_messages_come_back_as_they_went(box):
    words = b"".join(b"%08d line %d\r\n" % (n, n * 7919 % 1000003) for n in range(120_000))
    append(box, words, box.name)
    box.noop()
    assert box.fetch("1", "(BODY.PEEK[TEXT])")[1][0][1] == words
    assert box.fetch("1", "(BODY.PEEK[TEXT]<1000000.20>)")[1][0][1] == words[1000000:1000020]
    assert box.search(None, "BODY", '"00119999 line"')[1] == [b"1"]
    assert box.search(None, "BODY", '"00120000 line"')[1] == [b""]


@pytest.mark.parametrize("message", [b"a\x00b\r\n", b"a\nb\r\n", b"a\rb\r\n", b"ends in\r"])
def test_what_is_no_message_is_not_kept(box, message):
    box.literal = b"Subject: s\r\n\r\n" + message
    status, data = box._simple_command("APPEND", box.name)
    assert status == "NO" and b"bare" in data[0], (status, data)
    assert box.status(box.name, "(MESSAGES)")[1][0].endswith(b"(MESSAGES 0)")


def test_search_finds_substrings_across_lines_and_encodings(box):
    append(box, b"The quick brown\r\nfox jumps\r\n", box.name, b"first")
    box.literal = (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n"
                   b"Content-Type: text/plain; charset=iso-8859-1\r\n"
                   b"Content-Transfer-Encoding: quoted-printable\r\n\r\nStra=DFe in M=FCn=\r\nchen\r\n")
    assert box._simple_command("APPEND", box.name)[0] == "OK"
    box.noop()

    def search(*keys, charset=None, text=None):
        if text is not None:
            box.literal = text.encode()
        return box.search(charset, *keys)[1][0].split()

    assert search("BODY", '"brown fox"') == [b"1"]
    assert search("BODY", '"ROWN FO"') == [b"1"]
    assert search("TEXT", '"first"') == [b"1"]
    assert search("BODY", '"first"') == []
    assert search("BODY", charset="UTF-8", text="straße in münchen") == [b"2"]
    assert search("BODY", charset="UTF-8", text="STRASSE") == [b"2"]
    assert search("SUBJECT", charset="UTF-8", text="grüße") == [b"2"]
    assert search("HEADER", "Subject", '""') == [b"1", b"2"]
    assert search("HEADER", "X-None", '""') == []
    assert search("NOT", "BODY", '"fox"') == [b"2"]


def test_search_knows_the_lines_of_delivery(demo, box):
    client = mail.smtp(demo)
    client.ehlo()
    client.sendmail("sender@elsewhere.test", "alice+detail@demo.test", "Subject: d\r\n\r\nx\r\n")
    client.quit()
    box.select("INBOX")
    assert box.search(None, "HEADER", "Delivered-To", "alice+detail@demo.test")[1] != [b""]
    assert box.search(None, "HEADER", "Return-Path", "sender@elsewhere.test")[1] != [b""]
    assert box.search(None, "TEXT", '"delivered-to: alice+DETAIL"')[1] != [b""]
    assert box.search(None, "BODY", '"delivered-to: alice+detail"')[1] == [b""]


def test_recent_is_told_to_one_session(demo, box):
    append(box, mailbox=box.name)
    other = mail.imap(demo)
    other.select(box.name, readonly=True)
    assert other.response("RECENT")[1] == [b"1"]
    other.select(box.name)
    assert other.response("RECENT")[1] == [b"1"]
    other.close()
    other.select(box.name)
    assert other.response("RECENT")[1] == [b"0"]
    other.logout()


def test_no_message_is_missed_among_many_changes(demo, box):
    """Commits follow each other closely; a session must not take a later one for all before it."""
    name = box.name.encode()
    total = append(box, mailbox=box.name)
    author, *sessions = [mail.imap(demo, tls=False) for _ in range(8)]
    for session in sessions:
        session.select(box.name)
    writers, readers = sessions[:3], sessions[3:]
    known = [total] * len(readers)
    for _ in range(100):
        for reader in readers:
            reader.send(b"i IDLE\r\n")
        for w, writer in enumerate(writers):
            writer.send(b"".join(b"s%d UID STORE 1 %sFLAGS.SILENT (w%d)\r\n" %
                                 (n, b"+-"[n % 2:][:1], w) for n in range(12)))
        author.send(b"".join(b"a%d APPEND %s {3+}\r\nabc\r\n" % (n, name) for n in range(6)))
        total += 6
        for writer in writers:
            list(lines_until(writer, b"s11"))
        list(lines_until(author, b"a5"))
        for n, reader in enumerate(readers):
            reader.send(b"DONE\r\nm NOOP\r\nn NOOP\r\n")
            for line in lines_until(reader, b"n"):
                if found := re.match(rb"\* (\d+) EXISTS", line):
                    known[n] = int(found[1])
        assert known == [total] * len(readers)
    for session in (author, *sessions):
        session.logout()


def test_names_that_cannot_be(box):
    assert box.create("INBOX")[0] == "NO"
    assert box.create(box.name)[0] == "NO"
    assert box.delete("INBOX")[0] == "NO"
    assert box.delete("no-such-mailbox")[0] == "NO"
    assert box.rename("no-such-mailbox", "other")[0] == "NO"
    assert box.create("a//b")[0] in ("NO", "BAD")
    for name in (".", "..", f"{box.name}/../x", f"{box.name}/."):
        assert box.create(name)[0] == "NO"
        assert box.rename(box.name, name)[0] == "NO"
    append(box, mailbox=box.name)
    box.noop()
    status, data = box.copy("1", "no-such-mailbox")
    assert status == "NO" and b"TRYCREATE" in data[0]


def pop3(demo, user="bob"):
    conn = poplib.POP3_SSL(postern.HOST, demo.port("pop3s"), context=postern.tls_context())
    conn.user(f"{user}@{postern.DOMAIN}")
    conn.pass_(demo.users[user])
    return conn


def test_a_maildrop_has_one_session(demo):
    first = pop3(demo)
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        pop3(demo)
    first.quit()
    pop3(demo).quit()


def test_pop3_removes_at_quit_only(new_demo):
    demo = new_demo()
    conn = mail.imap(demo, "bob")
    for n in range(3):
        append(conn, b".dot\r\nline %d" % n)
    drop = pop3(demo)
    assert drop.stat()[0] == 3
    drop.dele(1)
    drop.close()
    drop = pop3(demo)
    assert drop.retr(2)[1][-2:] == [b".dot", b"line 1"]
    ids = drop.uidl()[1]
    drop.dele(2)
    drop.quit()
    drop = pop3(demo)
    assert [line.split()[1] for line in drop.uidl()[1]] == [ids[0].split()[1], ids[2].split()[1]]
    drop.quit()
    conn.logout()


def append_or_unavailable(conn):
    """True where the message was taken; the only other answer is to try again."""
    status, data = conn.append("INBOX", None, None, b"Subject: s\r\n\r\nx\r\n")
    assert status == "OK" or b"UNAVAILABLE" in data[0]
    return status == "OK"


def test_sessions_live_on_when_vault_and_keeper_die(new_demo):
    demo = new_demo()
    conn = mail.imap(demo)
    conn.select("INBOX")
    append(conn)
    children = dict(re.findall(r"event=child-ready child=(\w+) index=0 pid=(\d+)", demo.log()))
    for role in ("vault", "keeper"):
        os.kill(int(children[role]), signal.SIGKILL)
        mail.wait_until(lambda: append_or_unavailable(conn))
    conn.noop()
    assert len(conn.search(None, "ALL")[1][0].split()) >= 3
    conn.logout()


def count(demo, sql):
    with sqlite3.connect(f"file:{demo.folder}/store/postern.db?mode=ro", uri=True) as db:
        return db.execute(sql).fetchone()[0]


def test_a_message_whose_vault_died_in_the_middle_may_be_sent_again(new_demo):
    """It does not travel whole: the next vault has nothing of what the one before was sent."""
    demo = new_demo()
    conn, other = mail.imap(demo), mail.imap(demo)
    lines = b"".join(os.urandom(36).hex().encode() + b"\r\n" for _ in range(12000))
    message = b"Subject: large\r\n\r\n" + lines
    half = len(message) * 2 // 3
    conn.send(b"A1 APPEND INBOX {%d}\r\n" % len(message))
    assert conn.readline().startswith(b"+")
    conn.send(message[:half])
    mail.wait_until(lambda: count(demo, "SELECT count(*) FROM chunk") > 0)
    vault = processes.kill_role(demo, "vault")
    processes.wait_for_role(demo, "vault", other_than=vault)
    mail.wait_until(lambda: append_or_unavailable(other))
    conn.send(message[half:] + b"\r\n")
    assert b"UNAVAILABLE" in list(lines_until(conn, b"A1"))[-1]
    assert conn.append("INBOX", None, None, message)[0] == "OK"
    for each in conn, other:
        each.logout()


def test_nobody_waits_long_for_what_another_asks(demo, box):
    """Many sections of a header of many fields, of many messages: each is little work."""
    header = b"a:\r\n" * 60000 + b"\r\nx\r\n"
    assert box.append(box.name, None, None, header)[0] == "OK"
    for _ in range(2):
        box.select(box.name)
        assert box.copy("1:*", box.name)[0] == "OK"
    box.select(box.name)
    other = mail.imap(demo, user="bob")
    sections = " ".join(["BODY.PEEK[HEADER.FIELDS (b)]"] * 80)
    box.send(f"X1 FETCH 1:* ({sections})\r\n".encode())
    done = threading.Event()
    reader = threading.Thread(target=lambda: (untagged(box, rb"^X1 OK"), done.set()))
    reader.start()
    slowest, start = 0, time.monotonic()
    while not done.is_set():
        begun = time.monotonic()
        other.noop()
        slowest = max(slowest, time.monotonic() - begun)
    reader.join()
    assert slowest < (time.monotonic() - start) / 3
    other.logout()
