"""The dialogues marked `over: tcp`, against the real program, in clear and under TLS."""
import re
import socket
from pathlib import Path

import pytest

import postern

FOLDER = Path(__file__).parent / "dialogues"
SERVICES = {"mx": "smtp", "submission": "submission", "submissions": "submissions", "lmtp": "lmtp"}
ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}
# What only the engine's own runner can look at.
INSIDE = {"E", "E-none", "BODY", "BODY-size"}
TIMEOUT_S = 20


def unescape(text):
    def octet(match):
        found = match.group(1)
        if found.startswith(b"x"):
            return bytes([int(found[1:], 16)])
        return ESCAPES.get(found, found)
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", octet, text.encode())


def load(path):
    """The settings as a dict, and the steps as (line, key, value)."""
    settings, steps = {}, []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key[0].isupper():
            steps.append((number, key, value))
        else:
            settings.setdefault(key, value)
    return settings, steps


def cases():
    for path in sorted(FOLDER.glob("*.dlg")):
        settings, steps = load(path)
        over = settings.get("over")
        if over is None:
            continue
        yield pytest.param(settings, steps, False, id=path.stem)
        # The submission kinds have their TLS anyway.
        if over == "tcp" and settings["listener"] == "mx":
            yield pytest.param(settings, steps, True, id=f"{path.stem}-tls")


class Client:
    def __init__(self, demo, listener):
        self.socket = socket.create_connection(demo.address(SERVICES[listener]), TIMEOUT_S)
        self.unread = b""
        self.reply = []
        if listener == "submissions":
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


def client_octets(key, value):
    if key == "C":
        return unescape(value) + b"\r\n"
    if key == "C-raw":
        return unescape(value)
    count, _, text = value.partition(" ")
    return unescape(text) * int(count)


def run(client, steps):
    waiting = b""
    for number, key, value in steps:
        if key.startswith("C") and key != "CLOSED":
            waiting += client_octets(key, value)
            continue
        if waiting:
            client.send(waiting)
            waiting = b""
        try:
            take_step(client, key, unescape(value))
        except AssertionError as error:
            raise AssertionError(f"line {number}: {error}") from None
    if waiting:
        client.send(waiting)


def take_step(client, key, value):
    if key == "S":
        client.expect(value)
    elif key == "S-has":
        assert client.has_line(value), f"no {value!r} in {client.reply!r}"
    elif key == "S-has-not":
        assert not client.has_line(value), f"{value!r} in {client.reply!r}"
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


@pytest.mark.parametrize("settings, steps, under_tls", cases())
def test_dialogue(demo, settings, steps, under_tls):
    client = Client(demo, settings["listener"])
    try:
        if under_tls:
            begin_under_tls(client)
            assert steps[0][1:] == ("S", "220")
            steps = steps[1:]
        run(client, steps)
    finally:
        client.socket.close()
