"""The dialogues marked `over: tcp`, against the real program, in clear and under TLS."""
import re
import socket
import uuid
from pathlib import Path

import pytest

import mail
import postern
import served
import wire

FOLDER = Path(__file__).parent / "dialogues"
SERVICES = {"mx": "smtp", "submission": "submission", "submissions": "submissions", "lmtp": "lmtp",
            "imap": "imap", "imaps": "imaps", "pop3": "pop3", "pop3s": "pop3s"}
ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}
# What only the engine's own runner can look at.
INSIDE = {"E", "E-none", "BODY", "BODY-size"}
TIMEOUT_S = 20
# Of the messages that a dialogue finds in its mailbox.
RECEIVED = '"13-Feb-2025 22:31:30 +0000"'


def unescape(text):
    def octet(match):
        found = match.group(1)
        if found.startswith(b"x"):
            return bytes([int(found[1:], 16)])
        return ESCAPES.get(found, found)
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", octet, text.encode())


def load(path):
    """The settings as a dict (message: a list), and the steps as (line, key, value)."""
    settings, steps = {"message": []}, []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key[0].isupper():
            steps.append((number, key, value))
        elif key == "message":
            settings[key].append(unescape(value))
        else:
            settings.setdefault(key, value)
    return settings, steps


def cases():
    for path in sorted(FOLDER.rglob("*.dlg")):
        settings, steps = load(path)
        over = settings.get("over")
        if over is None:
            continue
        name = str(path.relative_to(FOLDER).with_suffix(""))
        yield pytest.param(settings, steps, False, id=name)
        # The submission kinds have their TLS anyway.
        if over == "tcp" and settings["listener"] in ("mx", "imap", "pop3"):
            yield pytest.param(settings, steps, True, id=f"{name}-tls")


class Client:
    def __init__(self, demo, listener):
        self.socket = socket.create_connection(demo.address(SERVICES[listener]), TIMEOUT_S)
        self.unread = b""
        self.reply = []
        if listener in ("submissions", "imaps", "pop3s"):
            self.start_tls()

    def start_tls(self):
        assert self.unread == b"", "the server speaks clear text behind STARTTLS"
        self.socket = postern.tls_context().wrap_socket(self.socket)

    def send(self, octets):
        self.socket.sendall(octets)

    def receive(self):
        """Some more octets; none where the server has closed."""
        try:
            return self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            return b""

    def read_line(self):
        while b"\r\n" not in self.unread:
            piece = self.receive()
            assert piece, f"closed where a reply is due; unread {self.unread!r}"
            self.unread += piece
        line, _, self.unread = self.unread.partition(b"\r\n")
        return line

    def read_reply(self):
        self.reply = [self.read_line()]
        while self.reply[-1][3:4] == b"-":
            self.reply.append(self.read_line())

    def expect(self, start):
        self.read_reply()
        first = self.reply[0]
        assert first[:3] == start[:3] and first[4:].startswith(start[4:]), \
            f"expected {start!r}, got {self.reply!r}"

    def has_line(self, start):
        return any(line[4:].startswith(start) for line in self.reply)

    def expect_end(self):
        rest = self.unread + self.receive()
        assert rest == b"", f"expected the end, got {rest!r}"


class LineClient(Client):
    """Of IMAP and POP3: what is expected is a line, in which ... is anything, ## a number."""

    def expect(self, pattern):
        line = self.read_line()
        assert matches(pattern, line), f"expected {pattern!r}, got {line!r}"
        self.reply = [line]

    def expect_at_last(self, pattern):
        self.reply = [self.read_line()]
        while not matches(pattern, self.reply[-1]):
            self.reply.append(self.read_line())

    def has_line(self, pattern):
        return any(matches(pattern, line) for line in self.reply)


def matches(pattern, line):
    wanted = re.escape(pattern).replace(rb"\.\.\.", rb".*").replace(rb"\#\#", rb"\d+")
    return re.fullmatch(wanted, line, re.S) is not None


class Play:
    """A dialogue under way: its connections by name, and the one that is in use."""

    def __init__(self, connect):
        self.connect = connect
        self.clients = {}
        self.switch("first")

    def switch(self, name):
        if name not in self.clients:
            self.clients[name] = self.connect()
        self.client = self.clients[name]

    def close(self):
        for client in self.clients.values():
            client.socket.close()

    def octets(self, key, value):
        """Only SMTP's dialogues have escapes everywhere: flags of IMAP begin with a backslash."""
        if isinstance(self.client, LineClient) and not key.startswith("C-"):
            return value.encode()
        return unescape(value)

    def client_octets(self, key, value):
        if key == "C":
            return self.octets(key, value) + b"\r\n"
        if key == "C-raw":
            return self.octets(key, value)
        count, _, text = value.partition(" ")
        return self.octets(key, text) * int(count)

    def run(self, steps):
        waiting = b""
        for number, key, value in steps:
            if key.startswith("C") and key != "CLOSED":
                waiting += self.client_octets(key, value)
                continue
            if waiting:
                self.client.send(waiting)
                waiting = b""
            try:
                self.take_step(key, self.octets(key, value))
            except AssertionError as error:
                raise AssertionError(f"line {number}: {error}") from None
        if waiting:
            self.client.send(waiting)

    def take_step(self, key, value):
        client = self.client
        if key == "S":
            client.expect(value)
        elif key == "S-until":
            client.expect_at_last(value)
        elif key == "S-has":
            assert client.has_line(value), f"no {value!r} in {client.reply!r}"
        elif key == "S-has-not":
            assert not client.has_line(value), f"{value!r} in {client.reply!r}"
        elif key == "ON":
            self.switch(value.decode())
        elif key == "TLS":
            client.start_tls()
        elif key == "CLOSED":
            client.expect_end()
        else:
            assert key in INSIDE, f"{key} cannot be done over TCP"


def begin_under_tls(client):
    client.expect(b"220")
    client.send(b"EHLO client.test\r\n")
    client.expect(b"250")
    client.send(b"STARTTLS\r\n")
    client.expect(b"220")
    client.start_tls()


def play(connect, steps):
    dialogue = Play(connect)
    try:
        dialogue.run(steps)
    finally:
        dialogue.close()


def play_smtp(demo, settings, steps, under_tls):
    def connect():
        client = Client(demo, settings["listener"])
        if under_tls:
            begin_under_tls(client)
        return client
    if under_tls:
        assert steps[0][1:] == ("S", "220")
        steps = steps[1:]
    play(connect, steps)


def prepare_mailbox(demo, settings):
    """Bob's INBOX for POP3, a new mailbox for IMAP, with the dialogue's messages; its name."""
    conn = mail.imap(demo, "bob")
    if settings["listener"].startswith("pop3"):
        name = "INBOX"
        conn.select(name)
        conn.store("1:*", "+FLAGS.SILENT", r"\Deleted")
        conn.close()
    else:
        name = f"box-{uuid.uuid4().hex[:8]}"
        conn.create(name)
    for message in settings["message"]:
        assert conn.append(name, None, RECEIVED, message)[0] == "OK"
    conn.logout()
    return name


def play_mailbox(demo, settings, steps, under_tls):
    box = prepare_mailbox(demo, settings)
    steps = [(number, key, value.replace("$BOX", box)) for number, key, value in steps]
    listener = settings["listener"] + ("s" if under_tls else "")
    play(lambda: LineClient(demo, listener), steps)


@pytest.fixture(scope="module")
def strict():
    """Takes no password in clear, as a server does unless it is told to."""
    with served.Served() as server:
        yield server


@pytest.mark.parametrize("settings, steps, under_tls", cases())
def test_dialogue(request, settings, steps, under_tls):
    server = request.getfixturevalue(settings.get("server", "demo"))
    is_mailbox = settings["listener"].startswith(("imap", "pop3"))
    (play_mailbox if is_mailbox else play_smtp)(server, settings, steps, under_tls)


def test_replies_to_a_pipelined_group_leave_together(demo):
    """RFC 2920 §3.2; also where one of them comes from another role."""
    with wire.Smtp(demo.address("smtp")) as client:
        client.greet()
        client.send(b"MAIL FROM:<someone@elsewhere.test>\r\nRCPT TO:<alice@demo.test>\r\nDATA\r\n")
        replies = client.socket.recv(4096).split(b"\r\n")
        assert [reply[:3] for reply in replies] == [b"250", b"250", b"354", b""]
