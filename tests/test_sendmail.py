"""`postern sendmail`: any program on the machine can hand a message in, and cron can."""

import os
import socket
import subprocess

import pytest

import mail
import postern
import served

EX_USAGE, EX_DATAERR, EX_NOUSER, EX_UNAVAILABLE, EX_TEMPFAIL = 64, 65, 67, 69, 75
STRANGER = 64321  # a user who is nobody here


@pytest.fixture(scope="module")
def server():
    # The socket's path has to be short, and in a folder that everybody can reach.
    one = served.Served()
    one.config_text += f"listen sendmail unix:{one.config.parent}/run/sendmail\n"
    with one:
        yield one


def sendmail(server, *words, given="", program="postern", **options):
    command = [server.public_program(), "sendmail"] if program == "postern" else [program]
    given = given if isinstance(given, bytes) else given.encode()
    return subprocess.run([*command, "-C", server.config, *words], input=given,
                          capture_output=True, timeout=60, **options)


def newest(server, user="alice"):
    """The last message of the user's INBOX, whole."""
    conn = mail.imap(server, user)
    try:
        _, [count] = conn.select("INBOX", readonly=True)
        _, data = conn.fetch(count, "(BODY[])")
        return data[0][1]
    finally:
        conn.logout()


def test_a_message_without_anything_gets_all_it_needs(server):
    done = sendmail(server, "alice", given="just words\nin two lines\n")
    assert (done.returncode, done.stderr) == (0, b"")
    message = newest(server)
    assert f"(Postern, userid {os.getuid()})".encode() in message.replace(b"\r\n\t", b" ")
    assert b"\r\nFrom: <" in message and b"@demo.test>\r\n" in message
    assert b"\r\nDate: " in message and b"\r\nMessage-ID: <" in message
    assert message.endswith(b"\r\n\r\njust words\r\nin two lines\r\n")
    assert b"Return-Path: <" in message


def test_recipients_in_the_header_and_no_bcc(server):
    done = sendmail(server, "-ti", "-f", "carol@example.org", "-FCarol", given=(
        "To: alice@demo.test\nBcc: bob\nSubject: both\n\nline\n.\nbehind the dot\n"))
    assert (done.returncode, done.stderr) == (0, b"")
    for user in "alice", "bob":
        message = newest(server, user)
        assert b"Return-Path: <carol@example.org>" in message
        assert b'From: "Carol" <carol@example.org>\r\n' in message
        assert b"Subject: both" in message and b"Bcc" not in message
        assert message.endswith(b"line\r\n.\r\nbehind the dot\r\n")


@pytest.mark.parametrize("shape", ["--config={}", "--config {}"])
def test_the_configuration_may_be_named_as_for_every_command(server, shape):
    words = shape.format(server.config).split()
    done = subprocess.run([postern.PROGRAM, "sendmail", *words, "alice"], input=b"Subject: c\n\nx\n",
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Subject: c\r\n" in newest(server)


def test_what_no_server_would_take_arrives(server):
    done = sendmail(server, "alice", given=b"Subject: progress\n\n10%\r20%\r\0done \xe9\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert newest(server).endswith(b"10%\r\n20%\r\ndone \xe9\r\n")


def test_called_by_its_name(server, tmp_path):
    program = tmp_path / "sendmail"
    program.symlink_to(postern.PROGRAM)
    done = sendmail(server, "-i", "alice", given="Subject: by name\n\nx\n", program=program)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Subject: by name" in newest(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_everybody_may(server):
    done = sendmail(server, "alice", given="Subject: stranger\n\nx\n", user=STRANGER,
                    group=STRANGER, extra_groups=[])
    assert (done.returncode, done.stderr) == (0, b"")
    message = newest(server).replace(b"\r\n\t", b" ")
    assert f"userid {STRANGER})".encode() in message
    assert f"Return-Path: <user-{STRANGER}@demo.test>".encode() in message


def test_refusals_are_told(server):
    done = sendmail(server, "nobody", "alice", given="Subject: one of two\n\nx\n")
    assert done.returncode == EX_NOUSER
    assert b"nobody@demo.test" in done.stderr and b"alice" not in done.stderr
    assert b"Subject: one of two" in newest(server)


@pytest.mark.parametrize("words, given, status", [
    ([], "x\n", EX_USAGE), (["-t"], "Subject: x\n\nx\n", EX_USAGE), (["-bs"], "", EX_USAGE),
    (["-f"], "", EX_USAGE), (["-N", "maybe", "alice"], "", EX_USAGE),
    (["--json", "alice"], "x\n", EX_USAGE), (["--config"], "x\n", EX_USAGE),
    (["a@b..c"], "x\n", EX_DATAERR), (["-f", "a b@@c", "alice"], "x\n", EX_DATAERR)])
def test_nonsense_is_refused(server, words, given, status):
    done = sendmail(server, *words, given=given)
    assert done.returncode == status and done.stderr.startswith(b"sendmail: ")


def test_without_a_server_it_is_to_be_tried_again(server):
    text = server.config.read_text()
    other = server.config.with_name("other.conf")
    other.write_text(text.replace("/run/sendmail", "/run/nobody"))
    done = subprocess.run([postern.PROGRAM, "sendmail", "-C", other, "alice"], input=b"x\n",
                          capture_output=True, timeout=60)
    assert done.returncode == EX_TEMPFAIL


def test_a_server_that_goes_away_is_to_be_tried_again(server):
    """Before the message, and in the middle of it."""
    path = server.config.parent / "gone"
    config = server.config.with_name("gone.conf")
    config.write_text(server.config.read_text().replace("/run/sendmail", "/gone"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        for replies in [], ["220 x", "250 x", "250 x", "250 x", "354 x"]:
            child = subprocess.Popen([postern.PROGRAM, "sendmail", "-C", config, "alice"],
                                     stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            child.stdin.write(b"words\n" * 500_000)
            child.stdin.close()
            with listener.accept()[0] as peer:
                for reply in replies:
                    peer.sendall(reply.encode() + b"\r\n")
                    peer.recv(1000)
            assert child.wait(20) == EX_TEMPFAIL
            assert b"the connection was lost" in child.stderr.read()
            child.stderr.close()
