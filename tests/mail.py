"""Small helpers for tests that send and read mail."""

import email.message
import email.utils
import imaplib
import smtplib
import socket
import time
import uuid

import postern


def message(to, sender="someone@elsewhere.test", subject=None, body="Hello.\r\n", **headers):
    """A message with a Date and a Message-ID of its own."""
    m = email.message.EmailMessage()
    m["From"] = sender
    m["To"] = to
    m["Subject"] = subject or f"test {uuid.uuid4()}"
    m["Date"] = email.utils.formatdate()
    m["Message-ID"] = f"<{uuid.uuid4()}@elsewhere.test>"
    for name, value in headers.items():
        m[name.replace("_", "-")] = value
    m.set_content(body)
    return m


def imap(demo, user="alice", tls=True):
    if tls:
        conn = imaplib.IMAP4_SSL(postern.HOST, demo.port("imaps"),
                                 ssl_context=postern.tls_context())
    else:
        conn = imaplib.IMAP4(postern.HOST, demo.port("imap"))
    # imaplib sends a literal in two pieces, and Nagle would hold the second back for 40 ms.
    conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn.login(f"{user}@{postern.DOMAIN}", demo.users[user])
    return conn


def smtp(demo):
    return smtplib.SMTP(postern.HOST, demo.port("smtp"), local_hostname="client.elsewhere.test")


def find(conn, message_id, mailbox="INBOX"):
    """UIDs of the messages with that Message-ID."""
    status, data = conn.select(f'"{mailbox}"', readonly=True)
    assert status == "OK", data
    status, data = conn.uid("SEARCH", "HEADER", "Message-ID", message_id.strip("<>"))
    assert status == "OK", data
    return data[0].split() if data[0] else []


def fetch(conn, uid):
    """The whole message as it is served."""
    status, data = conn.uid("FETCH", uid, "(BODY.PEEK[])")
    assert status == "OK", data
    # Beside it imaplib has what the server told of other messages.
    return next(item for item in data if isinstance(item, tuple))[1]


def wait_until(condition, seconds=20):
    """Polls what no event tells us of (another program's outbox); fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
    return result
