"""An SMTP (or LMTP) server that does what a test tells it to, however wrong that is, and keeps every
octet it got.

    with Peer(host="127.0.0.9", port=2525, script={"rcpt": "450 4.2.0 Later"}) as peer:
        peer.wait_for_messages(1)

A script says what happens at a stage instead of the usual: greeting, ehlo, starttls, handshake,
auth, mail, rcpt, data, body, dot, bdat, rset, quit. Its values:

    str or bytes    the reply (bytes go out as they are, the final CRLF is added to a str)
    HANG            no reply until the test is over; at "body": reads no further
    DROP            closes the connection; RESET does it as a crash would
    a function      called with the Session and the argument; returns one of these, or None: the usual
    True            for "bdat is no word": as a server that does not know it
    a list          one of these for each time the stage is reached, the usual thereafter

"body" is reached when the first octets of a message have come, "dot" when all have.
"""

import re
import socket
import ssl
import struct
import threading

HANG, DROP, RESET = object(), object(), object()
EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME",
              "DSN", "ENHANCEDSTATUSCODES")
WAIT_S = 30
LINE_MAX = 2048


class Closed(Exception):
    pass


class Message:
    """What one transaction brought. octets: without dot-stuffing; accepted: we said 250 to it."""

    def __init__(self, session, mail):
        self.session = session
        self.mail = mail
        self.recipients = []
        self.rcpt_lines = []
        self.octets = b""
        self.complete = False
        self.accepted = False
        self.is_tls = session.is_tls
        self.login = session.login

    def header(self, name):
        """The first field of that name, unfolded, or None."""
        head = self.octets.partition(b"\r\n\r\n")[0] + b"\r\n"
        found = re.search(rb"(?im)^" + name.encode() + rb":[ \t]*((?:.*\r\n)(?:[ \t].*\r\n)*)", head)
        return re.sub(rb"\r\n[ \t]+", b" ", found[1]).strip().decode() if found else None

    def message_id(self):
        return self.header("Message-ID")


class Session:
    """One connection."""

    def __init__(self, peer, conn, number):
        self.peer = peer
        self.socket = conn
        self.number = number
        self.unread = b""
        self.is_tls = self.is_resumed = False
        self.login = None
        self.greeted = None
        self.commands = []
        self.message = None
        self.turns = {}

    # ---- octets ----

    def receive(self):
        try:
            piece = self.socket.recv(65536)
        except (OSError, ssl.SSLError) as error:
            raise Closed from error
        if not piece:
            raise Closed
        self.peer.note_octets(piece)
        self.unread += piece

    def line(self):
        while b"\n" not in self.unread:
            if len(self.unread) > LINE_MAX:
                self.peer.complain(f"a command line of more than {LINE_MAX} octets")
                raise Closed
            self.receive()
        line, _, self.unread = self.unread.partition(b"\n")
        if not line.endswith(b"\r") or b"\r" in line[:-1] or b"\0" in line:
            self.peer.complain(f"a command that is not a line: {line!r}")
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def exactly(self, count):
        while len(self.unread) < count:
            self.receive()
        piece, self.unread = self.unread[:count], self.unread[count:]
        return piece

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except (OSError, ssl.SSLError) as error:
            raise Closed from error

    def hang(self):
        self.peer.over.wait()
        raise Closed

    # ---- the script ----

    def step(self, stage, usual, argument=""):
        """Does what the script says at this stage, or the usual. True where it was the usual."""
        what = self.peer.script_for(self).get(stage)
        if isinstance(what, list):
            turn = self.peer.turn(stage)
            what = what[turn] if turn < len(what) else None
        if callable(what):
            what = what(self, argument)
        if what is None:
            self.reply(usual)
            return True
        if what is HANG:
            self.peer.changed_now()
            self.hang()
        if what is RESET:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if what is DROP or what is RESET:
            raise Closed
        self.reply(what)
        return False

    def reply(self, what):
        if what:
            self.send(what if isinstance(what, bytes) else what.encode() + b"\r\n")

    # ---- the dialogue ----

    def run(self):
        if self.peer.implicit_tls and not self.handshake():
            return
        self.step("greeting", f"220 {self.peer.name} ready")
        while True:
            line = self.line()
            self.commands.append(line)
            self.peer.changed_now()
            verb, _, argument = line.partition(" ")
            # RFC 2920 §3.1: these end a group whatever was offered.
            if self.unread and ("PIPELINING" not in self.peer.extensions or verb.upper() in
                                ("EHLO", "LHLO", "HELO", "AUTH", "DATA", "STARTTLS")):
                self.peer.complain(f"pipelined behind {line!r}")
            handler = getattr(self, f"on_{verb.lower()}", None)
            if handler is None:
                self.reply("500 5.5.1 What?")
            elif handler(argument) == "end":
                return

    def on_ehlo(self, argument, verb="ehlo"):
        self.greeted = argument
        self.message = None
        lines = [self.peer.name, *self.peer.extensions]
        if self.peer.tls and not self.is_tls:
            lines.append("STARTTLS")
        if self.peer.auth and (self.is_tls or not self.peer.tls):
            lines.append("AUTH PLAIN LOGIN")
        self.step(verb, "\r\n".join(f"250{' ' if i == len(lines) - 1 else '-'}{line}"
                                    for i, line in enumerate(lines)), argument)

    def on_lhlo(self, argument):
        self.on_ehlo(argument)

    def on_helo(self, argument):
        self.greeted = argument
        self.step("helo", f"250 {self.peer.name}", argument)

    def on_starttls(self, argument):
        if self.step("starttls", "220 2.0.0 Go ahead", argument):
            return None if self.handshake() else "end"
        return None

    def handshake(self):
        if self.unread:
            self.peer.complain("octets behind STARTTLS in clear")
        what = self.peer.script_for(self).get("handshake")
        if what is not None:
            self.step("handshake", "")
            raise Closed
        try:
            self.socket = self.peer.tls.wrap_socket(self.socket, server_side=True)
        except (OSError, ssl.SSLError) as error:
            self.peer.handshake_failures.append(str(error))
            self.peer.changed_now()
            return False
        self.is_tls, self.unread = True, b""
        self.is_resumed = self.socket.session_reused
        return True

    def on_auth(self, argument):
        import base64
        mechanism, _, initial = argument.partition(" ")
        if not self.peer.auth:
            self.reply("502 5.5.1 No")
            return
        if mechanism == "PLAIN":
            if not initial:
                self.reply("334 ")
                initial = self.line()
            _, login, password = base64.b64decode(initial).decode().split("\0")
        else:
            self.reply("334 VXNlcm5hbWU6")
            login = base64.b64decode(self.line()).decode()
            self.reply("334 UGFzc3dvcmQ6")
            password = base64.b64decode(self.line()).decode()
        if (login, password) == self.peer.auth:
            self.login = login
            self.step("auth", "235 2.7.0 Welcome")
        else:
            self.reply("535 5.7.8 No")

    def on_mail(self, argument):
        if self.peer.auth and not self.login:
            self.reply("530 5.7.0 Authenticate first")
        elif self.step("mail", "250 2.1.0 Ok", argument):
            self.message = Message(self, argument)
            self.peer.begun.append(self.message)

    def on_rcpt(self, argument):
        if self.message is None:
            self.reply("503 5.5.1 MAIL first")
        elif self.step("rcpt", "250 2.1.5 Ok", argument):
            self.message.recipients.append(re.match(r"(?i)TO:<(.*?)>", argument)[1])
            self.message.rcpt_lines.append(argument)

    def on_data(self, argument):
        if self.message is None or not self.message.recipients:
            self.reply("554 5.5.1 No valid recipients")
            return
        if not self.step("data", "354 Go", argument):
            return
        while not (self.unread.startswith(b".\r\n") or b"\r\n.\r\n" in self.unread):
            at = len(self.unread)
            self.receive()
            if at == 0 and self.peer.script_for(self).get("body") is not None:
                self.step("body", "")
        if self.unread.startswith(b".\r\n"):
            stuffed, self.unread = b"", self.unread[3:]
        else:
            stuffed, _, self.unread = self.unread.partition(b"\r\n.\r\n")
            stuffed += b"\r\n"
        if re.search(rb"\r(?!\n)|(?<!\r)\n|\0", stuffed):
            self.peer.complain("a message with a bare CR or LF, or NUL")
        self.message.octets = (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
        self.dot()

    def on_bdat(self, argument):
        size, _, last = argument.partition(" ")
        if self.peer.script_for(self).get("bdat is no word"):
            self.reply("500 5.5.2 What?")
            while True:  # all that follows is no word either
                self.receive()
                self.unread = b""
        if self.message is None or not self.message.recipients:
            self.exactly(int(size))
            self.reply("554 5.5.1 No valid recipients")
            return
        if self.peer.script_for(self).get("body") is not None:
            self.step("body", "")
        self.message.octets += self.exactly(int(size))
        if last.upper() == "LAST":
            self.dot()
        elif not self.step("bdat", "250 2.0.0 Ok", argument):
            self.message = None

    def dot(self):
        message, self.message = self.message, None
        message.complete = True
        self.peer.changed_now()
        usual = "250 2.0.0 Taken"
        if self.peer.is_lmtp:
            usual = "\r\n".join(f"250 2.0.0 Taken for <{r}>" for r in message.recipients)
        # Counted before the reply is sent: whoever reads the reply may look at once.
        message.accepted = self.peer.script_for(self).get("dot") is None
        if message.accepted:
            self.peer.keep(message)
        if self.step("dot", usual, message) and not message.accepted:
            message.accepted = True
            self.peer.keep(message)

    def on_rset(self, argument):
        self.message = None
        self.step("rset", "250 2.0.0 Ok", argument)

    def on_noop(self, argument):
        self.reply("250 2.0.0 Ok")

    def on_quit(self, argument):
        self.step("quit", "221 2.0.0 Bye", argument)
        return "end"


class Peer:
    """script: a dict, or a function of the Session that returns one. tls: an ssl.SSLContext: STARTTLS
    is offered. host: an address, or the path of a Unix socket. auth: (login, password) that must be shown. octets_max: how much of what came is kept
    for `octets`."""

    def __init__(self, host="127.0.0.1", port=0, script=None, extensions=EXTENSIONS, tls=None,
                 auth=None, name="peer.test", is_lmtp=False, implicit_tls=False):
        self.script = script or {}
        self.extensions = tuple(extensions)
        self.tls, self.auth, self.name = tls, auth, name
        self.is_lmtp, self.implicit_tls = is_lmtp, implicit_tls
        self.begun, self.messages, self.sessions = [], [], []
        self.handshake_failures, self.complaints = [], []
        self.octets = 0
        self.open = self.open_most = 0
        self.turns = {}
        self.over = threading.Event()
        self.changed = threading.Condition()
        family = (socket.AF_UNIX if host.startswith("/") else
                  socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(host if family == socket.AF_UNIX else (host, port))
        self.listener.listen(512)
        self.host, self.port = host, port
        if family != socket.AF_UNIX:
            self.host, self.port = self.listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends every connection. What the client did wrong is told here."""
        self.over.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for session in list(self.sessions):
            try:
                session.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        assert not self.complaints, self.complaints

    def _accept(self):
        while not self.over.is_set():
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            if conn.family != socket.AF_UNIX:
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, conn, len(self.sessions))
            self.sessions.append(session)
            threading.Thread(target=self._serve, args=(session,), daemon=True).start()

    def _serve(self, session):
        with self.changed:
            self.open += 1
            self.open_most = max(self.open, self.open_most)
            self.changed.notify_all()
        try:
            session.run()
        except Closed:
            pass
        finally:
            session.socket.close()
            with self.changed:
                self.open -= 1
                self.changed.notify_all()

    def script_for(self, session):
        return self.script(session) if callable(self.script) else self.script

    def turn(self, stage):
        with self.changed:
            self.turns[stage] = self.turns.get(stage, -1) + 1
            return self.turns[stage]

    def keep(self, message):
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def note_octets(self, piece):
        self.octets += len(piece)

    def complain(self, words):
        self.complaints.append(words)

    def changed_now(self):
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition, seconds=WAIT_S):
        """Until condition() holds; it is looked at whenever something happens here."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), \
                f"{self.name}: did not happen; {self.commands()[-20:]} {self.complaints}"
            return condition()

    def wait_for_messages(self, count=1, seconds=WAIT_S):
        self.wait(lambda: len(self.messages) >= count, seconds)
        return self.messages

    def wait_for_sessions(self, count=1, seconds=WAIT_S):
        self.wait(lambda: len(self.sessions) >= count, seconds)

    def wait_for_command(self, prefix, count=1, seconds=WAIT_S):
        self.wait(lambda: sum(c.upper().startswith(prefix) for c in self.commands()) >= count,
                  seconds)

    def commands(self):
        return [line for session in self.sessions for line in session.commands]
