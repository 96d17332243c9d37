"""What somebody tries who has no password: nothing tells names that exist from others."""

import base64
import re
import socket

import pytest

import postern
import scram
import wire
from test_cli import Cli

TAKEN, NOBODY, SHUT, BARE = (f"{name}@demo.test" for name in ("alice", "nobody", "carol", "dave"))


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with postern.Demo(tmp_path_factory.mktemp("target") / "data") as demo:
        cli = Cli(demo.folder)
        cli("account", "add", SHUT, stdin="right\n")
        cli("account", "disable", SHUT)
        cli("account", "add", BARE, "--no-password")
        yield demo


class Line:
    """A client that says lines and hears lines."""

    def __init__(self, demo, service):
        self.socket = socket.create_connection(demo.address(service), 20)
        if service in ("submissions", "imaps", "pop3s"):
            self.socket = postern.tls_context().wrap_socket(self.socket)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()

    def say(self, *words):
        for word in words:
            self.socket.sendall(word + b"\r\n")
        return self.lines.readline()


def by_imap_login(demo, user, password):
    return Line(demo, "imap").say(f"a LOGIN {user} {password}".encode())


def by_imap_plain(demo, user, password):
    message = base64.b64encode(f"\0{user}\0{password}".encode())
    return Line(demo, "imap").say(b"a AUTHENTICATE PLAIN " + message)


def by_pop3(demo, user, password):
    line = Line(demo, "pop3")
    line.say(f"USER {user}".encode())
    return line.say(f"PASS {password}".encode())


def by_submission(demo, user, password):
    line = Line(demo, "submissions")
    line.say(b"EHLO me")
    while line.lines.readline()[3:4] == b"-":
        pass
    return line.say(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()))


def by_scram(demo, user, password):
    """The shape of what comes before the refusal counts too."""
    client, line = scram.Client(user, password), Line(demo, "imap")
    first = line.say(b"a AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(client(b"")))
    challenge = base64.b64decode(first[2:])
    shape = [(part[:2], len(part)) for part in challenge.split(b",")]
    return shape, challenge.split(b",")[2], line.say(base64.b64encode(client(challenge)))


@pytest.mark.parametrize("way", [by_imap_login, by_imap_plain, by_pop3, by_submission, by_scram])
def test_every_refusal_is_the_same(target, way):
    said = [way(target, user, password) for user, password in
            ((TAKEN, "wrong"), (NOBODY, "wrong"), (SHUT, "right"), (BARE, "wrong"), (BARE, "x"))]
    assert all(words == said[0] for words in said), said
    assert "OK" not in str(said[0]) and "235" not in str(said[0])


def test_the_salt_of_nobody_is_as_lasting_as_anybodys(target):
    def salt(user):
        first = Line(target, "imap").say(
            b"a AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(scram.Client(user, "x")(b"")))
        return re.search(rb"s=([^,]*)", base64.b64decode(first[2:]))[1]
    salts = [salt(user) for user in (TAKEN, NOBODY, SHUT, BARE)]
    assert salts == [salt(user) for user in (TAKEN, NOBODY, SHUT, BARE)]
    assert len(set(salts)) == 4 and len({len(s) for s in salts}) == 1


@pytest.mark.parametrize("service", ["submission", "imap", "pop3"])
def test_a_connection_gets_only_so_many_guesses(target, service):
    """All of them in one piece: what is behind the last one is not looked at."""
    message = base64.b64encode(f"\0{TAKEN}\0wrong".encode())
    right = base64.b64encode(f"\0{TAKEN}\0{target.users['alice']}".encode())
    with socket.create_connection(target.address(service + "s"), 20) as bare:
        client = postern.tls_context().wrap_socket(bare)
        if service == "submission":
            lines = [b"EHLO me"] + [b"AUTH PLAIN " + m for m in [message] * 20 + [right]]
        elif service == "imap":
            lines = [b"a%d AUTHENTICATE PLAIN %s" % (n, m)
                     for n, m in enumerate([message] * 20 + [right])]
        else:
            lines = [b"AUTH PLAIN " + m for m in [message] * 20 + [right]]
        heard = b""
        assert client.recv(1000)  # greeted
        try:
            client.sendall(b"\r\n".join(lines) + b"\r\n")
            while piece := client.recv(65536):
                heard += piece
        except OSError:
            pass
    refusals = len(re.findall(rb"(?m)^(535 |a\d+ NO |-ERR \[AUTH\])", heard))
    assert 1 <= refusals <= 10, heard
    assert not re.search(rb"(?m)^(235 |a20 OK|\+OK welcome)", heard), heard


def test_words_said_before_tls_count_for_nothing_behind_it(target):
    """RFC 3207 §4.2, RFC 3501 §6.2.1, RFC 2595 §4: what was slipped in in clear is dropped."""
    with wire.Smtp(target.address("submission")) as smtp:
        smtp.greet()
        smtp.send(b"STARTTLS\r\nAUTH PLAIN "
                  + base64.b64encode(f"\0{TAKEN}\0{target.users['alice']}".encode()) + b"\r\n")
        assert smtp.reply().startswith("220")
        context = postern.tls_context()
        tls = context.wrap_socket(smtp.socket)
        tls.sendall(b"MAIL FROM:<alice@demo.test>\r\n")
        assert tls.recv(1000)[:3] in (b"503", b"530")
