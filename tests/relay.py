"""A laboratory for mail on its way out: a served Postern, a DNS of its own, and peers at addresses of
their own that all have the same port, as servers in the world have 25.

    with Lab(outbound="retry 1s") as lab:
        with lab.peer() as peer:
            domain = lab.domain(peer)
            sent = lab.send(f"bob@{domain}")
            peer.wait_for_messages(1)
            lab.wait_gone(sent)

It adds nothing to what a user can do: mail goes in by SMTP, what became of it is seen in the peers,
in the sender's mailbox, and in the store, read as any program may read it.
"""

import base64
import email
import email.policy
import itertools
import json
import random
import re
import socket
import sqlite3

import authority
import dns
import mail
import peer
import postern
import served
import wire

OUTBOUND = {
    "retry": "1s 1s 2s",
    "refuse-addresses": "none",
    "timeout": "3s",
}
SENDER = f"alice@{postern.DOMAIN}"


def free_port():
    """One that is free on every loopback address, below the kernel's own range."""
    while True:
        port = random.randrange(23100, 32000)
        if not postern.claim(port):
            continue
        try:
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", port))
            return port
        except OSError:
            continue


class Sent:
    """A message that has its 250."""

    def __init__(self, octets, message_id, recipients, sender):
        self.octets, self.id = octets, message_id
        self.recipients, self.sender = recipients, sender


class Row:
    """A recipient that waits, as the store has it."""

    def __init__(self, row):
        self.__dict__.update(row)
        self.recipient = row["recipient"].decode()
        self.words = row["last_words"].decode(errors="replace")

    def __repr__(self):
        return f"<{self.recipient} {self.destination} {self.attempts} {self.last_status} {self.words}>"


class Lab:
    """outbound: {directive: words} in its block, "" to leave one of the usual ones out. extra: more
    lines of the configuration, or a function of the lab that returns them."""

    def __init__(self, outbound=None, extra="", users=None, limits="", start=True):
        self.dns = dns.Dns()
        self.authority = authority.Authority()
        self.port = free_port()
        self.sts_port = free_port()
        self.net = f"127.{random.randrange(2, 255)}.{random.randrange(256)}"
        self.hosts = itertools.count(1)
        self.names = itertools.count(1)
        settings = {**OUTBOUND, "port": self.port, "mta-sts-port": self.sts_port,
                    "ca-file": self.authority.file, **(outbound or {})}
        lines = "".join(f"    {name} {value}\n" for name, value in settings.items() if value != "")
        extra = extra(self) if callable(extra) else extra
        self.server = served.Served(
            limits=limits, users=users, extra=f"trust 127.0.0.0/8\nrelay-from 127.0.0.0/8\n"
            f"outbound {{\n{lines}}}\n{self.dns.resolver()}{extra}")
        self.mailboxes = {}
        if start:
            self.start()

    def start(self):
        self.dns.start()
        self.server.start()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.server.__exit__()
        self.dns.close()
        self.authority.close()

    # ---- the world ----

    def address(self):
        """An address that nobody has."""
        return f"{self.net}.{next(self.hosts)}"

    def peer(self, **options):
        options.setdefault("host", self.address())
        return peer.Peer(port=self.port, **options)

    def name(self, zone="test"):
        """A domain name that nobody has."""
        return f"d{next(self.names)}.{zone}"

    def domain(self, *hosts, zone="test", publish=True):
        """A domain with these hosts (peers or addresses) as its MX, the first one preferred: the
        n-th is mxN.DOMAIN."""
        domain = self.name(zone)
        for n, host in enumerate(hosts, 1):
            self.dns.add(f"{domain}. MX {10 * n} mx{n}.{domain}.",
                         f"mx{n}.{domain}. A {getattr(host, 'host', host)}")
        if publish:
            self.dns.publish()
        return domain

    def records(self, *records):
        self.dns.add(*records)
        self.dns.publish()

    # ---- mail ----

    def send(self, *recipients, sender=SENDER, body=b"Hello.\r\n", octets=None, mail_args="",
             rcpt_args="", service="smtp"):
        """Hands it in by SMTP from an address that may relay."""
        if octets is None:
            octets, message_id = wire.message(body)
        else:
            message_id = email.message_from_bytes(octets)["Message-ID"]
        with wire.Smtp(self.server.address(service)) as client:
            client.greet()
            reply = client.command(f"MAIL FROM:<{sender}> {mail_args}".rstrip())
            assert reply.startswith("250"), reply
            for recipient in recipients:
                reply = client.command(f"RCPT TO:<{recipient}> {rcpt_args}".rstrip())
                assert reply.startswith("25"), reply
            reply = client.command("DATA")
            assert reply.startswith("354"), reply
            client.send(wire.stuffed(octets))
            reply = client.reply()
            assert reply.startswith("250"), reply
            client.command("QUIT")
        return Sent(octets, message_id, list(recipients), sender)

    def submit(self, *recipients, user="alice", body=b"Hello.\r\n", fields=b"", mail_args="",
               rcpt_args=""):
        """As a person does: TLS and AUTH at the port for submission. The reply, whatever it is."""
        octets, message_id = wire.message(body)
        octets = octets.replace(b"someone@elsewhere.test", f"{user}@{postern.DOMAIN}".encode())
        octets = fields + octets
        with wire.Smtp(self.server.address("submissions"), tls=True) as client:
            client.greet()
            secret = f"\0{user}@{postern.DOMAIN}\0{self.server.users[user]}".encode()
            reply = client.command("AUTH PLAIN " + base64.b64encode(secret).decode())
            assert reply.startswith("235"), reply
            sender = f"{user}@{postern.DOMAIN}"
            reply = client.command(f"MAIL FROM:<{sender}> {mail_args}".rstrip())
            for recipient in recipients:
                if reply.startswith("2"):
                    reply = client.command(f"RCPT TO:<{recipient}> {rcpt_args}".rstrip())
            if reply.startswith("2"):
                client.command("DATA")
                client.send(wire.stuffed(octets))
                reply = client.reply()
            client.command("QUIT")
        return Sent(octets, message_id, list(recipients), sender), reply

    # ---- what became of it ----

    def store(self):
        path = self.server.folder / "store" / "postern.db"
        conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
        conn.row_factory = sqlite3.Row
        return conn

    def waiting(self, sent=None):
        """The rows of the queue, all or of one message."""
        store = self.store()
        try:
            rows = store.execute(
                "SELECT queue.*, destination.name AS destination_name, destination.trouble, "
                "outgoing.trace_id, outgoing.prefix FROM queue "
                "JOIN outgoing ON outgoing.id = queue.outgoing "
                "JOIN destination ON destination.id = queue.destination").fetchall()
        finally:
            store.close()
        found = [Row(dict(row) | {"destination": row["destination_name"]}) for row in rows]
        if sent is not None:
            found = [row for row in found if row.recipient in sent.recipients]
        return found

    def wait_for_row(self, sent, condition=lambda row: row.attempts > 0, seconds=30):
        """The row of the message's recipient (the first that fits), as soon as it is so."""
        return mail.wait_until(lambda: next(filter(condition, self.waiting(sent)), None), seconds)

    def wait_gone(self, *messages, seconds=30):
        """Nothing of these waits any more."""
        for sent in messages:
            try:
                mail.wait_until(lambda sent=sent: not self.waiting(sent), seconds)
            except AssertionError:
                raise AssertionError(f"still waits: {self.waiting(sent)}") from None

    def trace(self, sent):
        """The steps of a message, by its Message-ID: [(step, words)]."""
        store = self.store()
        try:
            found = store.execute("SELECT trace_id FROM trace WHERE instr(words, ?) LIMIT 1",
                                  (sent.id,)).fetchone()
            rows = store.execute("SELECT step, words FROM trace WHERE trace_id = ? ORDER BY id",
                                 (found["trace_id"] if found else "",)).fetchall()
        finally:
            store.close()
        return [(row["step"], row["words"].decode(errors="replace")) for row in rows]

    def inbox(self, user="alice"):
        """All that is in a user's Inbox, parsed."""
        if user not in self.mailboxes:
            self.mailboxes[user] = mail.imap(self.server, user)
        conn = self.mailboxes[user]
        conn.select("INBOX", readonly=True)
        _, data = conn.uid("FETCH", "1:*", "(BODY.PEEK[])")
        return [email.message_from_bytes(part[1], policy=email.policy.default)
                for part in data if isinstance(part, tuple)]

    def reports(self, sent, user="alice"):
        """The reports about a message in the Inbox: those that quote its Message-ID."""
        return [message for message in self.inbox(user)
                if message.get_content_type() == "multipart/report" and
                sent.id.encode() in message.as_bytes()]

    def wait_for_report(self, sent, user="alice", seconds=30):
        found = mail.wait_until(lambda: self.reports(sent, user), seconds)
        return Report(found[-1])

    def run(self, *command):
        return self.server.run(*command)

    def queue_json(self, *arguments):
        """What `postern queue list --json` says."""
        return json.loads(self.run("queue", "list", "--json", *arguments))


def blocks(part):
    """The fields of a report, block by block (RFC 3464 §2.1); Python's parser knows them only where
    their type is the one for ASCII."""
    assert part.get_content_type() in ("message/delivery-status", "message/global-delivery-status")
    octets = b"\n".join(inner.as_bytes() for inner in part.get_payload()).replace(b"\r\n", b"\n")
    return [dict(line.split(": ", 1) for line in re.sub(r"\n[ \t]+", " ", block).splitlines())
            for block in re.split(r"\n\n+", octets.decode().strip())]


class Report:
    """A delivery status notification (RFC 3464), taken apart."""

    def __init__(self, message):
        self.message = message
        parts = list(message.iter_parts())
        self.words = parts[0].get_content()
        self.about, *self.recipients = blocks(parts[1])
        # What was about to be read when somebody was killed does not come along.
        self.original = parts[2] if len(parts) > 2 else None

    def recipient(self, address):
        return next(fields for fields in self.recipients
                    if fields["Final-Recipient"].partition(";")[2].strip() == address)
