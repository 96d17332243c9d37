"""An SMTP client that does exactly what it is told, and no more."""

import email.utils
import os
import socket
import struct
import uuid

import postern

TIMEOUT_S = 30


class Smtp:
    def __init__(self, address, source=None, before=b"", tls=False):
        """before: octets sent in front of everything, a PROXY header."""
        self.socket = socket.create_connection(
            address, TIMEOUT_S, source_address=(source, 0) if source else None)
        if before:
            self.socket.sendall(before)
        if tls:
            self.socket = postern.tls_context().wrap_socket(self.socket)
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets)

    def line(self):
        while b"\r\n" not in self.unread:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionResetError("closed where a reply is due")
            self.unread += piece
        line, _, self.unread = self.unread.partition(b"\r\n")
        return line.decode()

    def reply(self):
        """The whole reply, as one str: "250 2.0.0 Ok"."""
        line = self.line()
        while line[3:4] == "-":
            line = self.line()
        return line

    def command(self, line):
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def greet(self, name="client.elsewhere.test"):
        assert (greeting := self.reply()).startswith("220"), greeting
        assert self.command(f"EHLO {name}").startswith("250")
        return self

    def begin(self, recipients, sender="someone@elsewhere.test"):
        """MAIL, RCPT, DATA; returns the first reply that refuses, else the 354."""
        for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients)):
            reply = self.command(line)
            if not reply.startswith("2"):
                return reply
        return self.command("DATA")

    def message(self, octets, recipients, sender="someone@elsewhere.test"):
        """A whole transaction; returns its last reply."""
        reply = self.begin(recipients, sender)
        if not reply.startswith("354"):
            return reply
        self.send(stuffed(octets))
        return self.reply()

    def is_closed(self):
        """Waits for the other side to close, throwing away what it still says."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def reset(self):
        """Ends the connection as a crash of the client's machine would, with nothing said."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def stuffed(octets):
    """As it goes over the wire, the final dot included (RFC 5321 §4.5.2)."""
    assert octets.endswith(b"\r\n")
    if octets.startswith(b"."):
        octets = b"." + octets
    return octets.replace(b"\r\n.", b"\r\n..") + b".\r\n"


def text(size):
    """Lines of hexadecimal noise: about half of it is left when it is compressed."""
    noise = os.urandom(size // 2).hex().encode()
    return b"".join(noise[i:i + 76] + b"\r\n" for i in range(0, len(noise), 76))


def message(body=b"Hello.\r\n", without=(), message_id=None):
    """Octets of a message and its Message-ID; without: names of fields to leave out."""
    message_id = message_id or f"<{uuid.uuid4()}@elsewhere.test>"
    fields = {"From": "someone@elsewhere.test", "Subject": "a test", "Date":
              email.utils.formatdate(), "Message-ID": message_id}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if name not in without)
    return head.encode() + b"\r\n" + body, message_id
