"""Other servers that hang, break off, say 421 or nonsense, or do not do what they announced: each
message ends delivered or waiting (or bounced where that is what was said), and nobody else waits.

All faults happen at the same time, each at a server of its own.
"""

import time

import pytest

import peer
import relay
import wire

WITHOUT_CHUNKING = tuple(e for e in peer.EXTENSIONS if e not in ("CHUNKING", "BINARYMIME"))
STAGES = {  # stage of the peer's script, what it announces
    "greeting": ("greeting", peer.EXTENSIONS), "ehlo": ("ehlo", peer.EXTENSIONS),
    "mail": ("mail", peer.EXTENSIONS), "rcpt": ("rcpt", peer.EXTENSIONS),
    "data": ("data", WITHOUT_CHUNKING), "body": ("body", WITHOUT_CHUNKING),
    "dot": ("dot", WITHOUT_CHUNKING), "chunk": ("body", peer.EXTENSIONS),
    "last chunk": ("dot", peer.EXTENSIONS), "mail, one at a time": ("mail", ()),
}
TIMEOUT_S = 3
GARBAGE = b"\x00\xff%s\x01 not a reply\r\n"


def endless(session, _):
    """A reply of more and more lines."""
    while True:
        session.send(b"250-and another thing\r\n" * 100)


def one_line_without_end(session, _):
    while True:
        session.send(b"x" * 65536)


def half_a_reply(session, _):
    session.send(b"250-this is not the last line\r\n")
    session.hang()


FAULTS = {
    "hangs": lambda stage: peer.HANG,
    "closes": lambda stage: peer.DROP,
    "resets": lambda stage: peer.RESET,
    "says 421": lambda stage: "421 4.3.2 Not now",
    "says 450": lambda stage: ["450 4.2.1 Not now"],  # once: the connection goes on
    "says nonsense": lambda stage: GARBAGE,
    "says NUL": lambda stage: b"2\x0050 2.0.0 x\r\n",
    "talks for ever": lambda stage: endless,
    "makes a line without end": lambda stage: one_line_without_end,
    "says half a reply": lambda stage: half_a_reply,
    "answers with a code of two digits": lambda stage: b"25 what\r\n",
    "answers with a code of another kind": lambda stage: b"999 what\r\n",
}
CASES = [(stage, fault) for stage in STAGES for fault in FAULTS
         if STAGES[stage][0] != "body" or fault in ("hangs", "closes", "resets")]


class Broken:
    """A server with a fault in its first session."""

    def __init__(self, lab, stage, fault):
        at, extensions = STAGES[stage]
        script = {at: FAULTS[fault](stage)}
        self.peer = lab.peer(script=lambda session: script if session.number == 0 else {},
                             extensions=extensions)
        self.domain = lab.domain(self.peer, publish=False)


class Storm:
    """All faults at once, and in the middle of them mail for a server that works."""

    def __init__(self, lab):
        self.lab = lab
        self.good = lab.peer()
        self.broken = {case: Broken(lab, *case) for case in CASES}
        good = lab.domain(self.good)
        self.sent = {case: lab.send(f"bob@{broken.domain}", body=wire.text(300_000))
                     for case, broken in self.broken.items()}
        begin = time.monotonic()
        messages = [lab.send(f"bob@{good}") for _ in range(20)]
        lab.wait_gone(*messages)
        self.others_took = time.monotonic() - begin

    def close(self):
        for broken in self.broken.values():
            broken.peer.close()
        self.good.close()


@pytest.fixture(scope="module")
def lab():
    with relay.Lab(outbound={"timeout": f"{TIMEOUT_S}s"}) as lab:
        yield lab


@pytest.fixture(scope="module")
def storm(lab):
    storm = Storm(lab)
    yield storm
    storm.close()


def test_nobody_else_waits(storm):
    assert len(storm.good.messages) == 20
    assert storm.others_took < TIMEOUT_S


@pytest.mark.parametrize("stage,fault", CASES)
def test_a_fault_delays_and_loses_nothing(lab, storm, stage, fault):
    broken, sent = storm.broken[stage, fault], storm.sent[stage, fault]
    lab.wait_gone(sent, seconds=60)
    accepted = [m for m in broken.peer.messages if m.message_id() == sent.id]
    assert len(accepted) == 1, (broken.peer.commands(), lab.trace(sent))
    # Above the sender's first field stand only ours.
    assert accepted[0].octets.endswith(sent.octets)
    assert not lab.reports(sent)
    assert broken.peer.octets < 4 * len(sent.octets)


# ---- What was announced and is not so --------------------------------------------------------------


def extra_reply(session, _):
    """In front of the usual one, in the first session."""
    if session.number == 0:
        session.send(b"250 2.1.0 Ok\r\n")


def no_reply(session, argument):
    """Takes the recipient, in the first session without a word."""
    if session.number > 0:
        return None
    session.message.recipients.append(argument[4:-1])
    return b""


BREAKS = {
    # announced, script, what is sent, whether it arrives (else: bounced or waits)
    "PIPELINING, and replies that nobody asked for":
        (peer.EXTENSIONS, {"mail": extra_reply}, {"body": wire.text(500_000)}, True),
    "PIPELINING without CHUNKING, and replies that nobody asked for":
        (WITHOUT_CHUNKING, {"mail": extra_reply}, {"body": wire.text(500_000)}, True),
    "PIPELINING, and a reply less": (peer.EXTENSIONS, {"rcpt": no_reply}, {}, True),
    "PIPELINING without CHUNKING, and a reply less": (WITHOUT_CHUNKING, {"rcpt": no_reply}, {}, True),
    "CHUNKING, and every message is refused as if it were no word":
        (peer.EXTENSIONS, {"bdat": "502 5.5.1 What?", "dot": "502 5.5.1 What?"},
         {"body": wire.text(500_000)}, False),
    "CHUNKING, and BDAT is no word":
        (peer.EXTENSIONS, {"bdat is no word": True}, {"body": wire.text(500_000)}, True),
    "STARTTLS, and 454": (peer.EXTENSIONS, {"starttls": "454 4.7.0 Not now"}, {"tls": True}, True),
    "STARTTLS, and 502": (peer.EXTENSIONS, {"starttls": "502 5.5.1 What?"}, {"tls": True}, True),
    "STARTTLS, and nonsense for a handshake":
        (peer.EXTENSIONS, {"handshake": GARBAGE}, {"tls": True}, True),
    "STARTTLS, and it hangs": (peer.EXTENSIONS, {"handshake": peer.HANG}, {"tls": True}, True),
    "STARTTLS, and it closes": (peer.EXTENSIONS, {"handshake": peer.DROP}, {"tls": True}, True),
    "DSN, and 555": (peer.EXTENSIONS, {"rcpt": lambda session, argument: "555 5.5.4 NOTIFY?"
                                       if "NOTIFY" in argument else None},
                     {"rcpt_args": "NOTIFY=FAILURE"}, None),
    "8BITMIME, and 555": (peer.EXTENSIONS, {"mail": lambda session, argument: "555 5.5.4 BODY?"
                                            if "BODY" in argument else None},
                          {"body": "Grüße\r\n".encode(), "mail_args": "BODY=8BITMIME"}, None),
    "SIZE, and 552": (peer.EXTENSIONS, {"mail": "552 5.3.4 Too big after all"}, {}, False),
    "SMTPUTF8, and 553": (peer.EXTENSIONS, {"mail": lambda session, argument: "553 5.6.7 No"
                                            if "SMTPUTF8" in argument else None},
                          {"mail_args": "SMTPUTF8", "sender": "älice@demo.test"}, None),
}


@pytest.mark.parametrize("name", BREAKS)
def test_an_extension_that_does_not_hold(lab, name):
    extensions, script, options, arrives = BREAKS[name]
    options = dict(options)
    tls = None
    if options.pop("tls", False):
        tls = relay.authority.server_context(lab.authority.self_made("broken.test"))
    with lab.peer(extensions=extensions, script=script, tls=tls) as broken:
        domain = lab.domain(broken)
        sent = lab.send(f"bob@{domain}", **options)
        if arrives:
            lab.wait_gone(sent, seconds=30)
            assert broken.messages, lab.trace(sent)
            assert broken.messages[0].octets.endswith(sent.octets)
        elif arrives is False:
            assert lab.wait_for_report(sent).recipients[0]["Action"] == "failed"
            assert not broken.messages
        else:
            lab.wait_gone(sent, seconds=30)
            assert broken.messages or "älice" in sent.sender or lab.reports(sent)


def test_a_server_without_bdat_is_asked_once(lab):
    """Large mail goes to it by DATA from then on, at once."""
    with lab.peer(script={"bdat is no word": True}) as broken:
        domain = lab.domain(broken)
        for _ in range(2):
            lab.wait_gone(lab.send(f"bob@{domain}", body=wire.text(500_000)))
        assert [c.split()[0] for c in broken.commands()].count("BDAT") == 1
        assert len(broken.messages) == 2 and len(broken.sessions) == 2


def test_announced_limits_are_kept(lab):
    """RFC 9422: MAILMAX and RCPTMAX."""
    with lab.peer(extensions=(*peer.EXTENSIONS, "LIMITS MAILMAX=2 RCPTMAX=3")) as strict:
        domain = lab.domain(strict)
        sent = lab.send(*(f"user{n}@{domain}" for n in range(10)))
        messages = [lab.send(f"bob@{domain}") for _ in range(5)]
        lab.wait_gone(sent, *messages)
        assert max(len(m.recipients) for m in strict.begun) <= 3
        per_session = {}
        for message in strict.begun:
            per_session[message.session] = per_session.get(message.session, 0) + 1
        assert max(per_session.values()) <= 2
        assert sum(len(m.recipients) for m in strict.messages) == 15


def test_a_message_that_is_too_big_for_the_other_is_not_sent(lab):
    with lab.peer(extensions=("SIZE 1000",)) as small:
        sent = lab.send(f"bob@{lab.domain(small)}", body=wire.text(5000))
        assert lab.wait_for_report(sent).recipients[0]["Status"] == "5.3.4"
        assert not small.begun or not small.begun[0].recipients


def test_a_server_of_the_last_century(lab):
    """Nothing but HELO; one command at a time, as the peer itself checks."""
    with lab.peer(extensions=(), script={"ehlo": "500 What?"}) as old:
        sent = lab.send(f"bob@{lab.domain(old)}", f"eve@{lab.domain(old)}")
        lab.wait_gone(sent)
        assert sum(len(m.recipients) for m in old.messages) == 2


def test_a_late_recipient_holds_no_other(lab):
    def reply(session, argument):
        now = len(session.peer.messages)
        return "450 4.2.0 Later" if "later" in argument and now == 0 else None
    with lab.peer(script={"rcpt": reply}) as host:
        domain = lab.domain(host)
        sent = lab.send(f"now@{domain}", f"later@{domain}", f"also@{domain}")
        host.wait_for_messages(1)
        assert host.messages[0].recipients == [f"now@{domain}", f"also@{domain}"]
        lab.wait_gone(sent)
        assert host.messages[1].recipients == [f"later@{domain}"]


def test_greylisting(lab):
    """Refused until some time has passed since the first try, by client, sender and recipient."""
    first = {}

    def reply(session, argument):
        key = (session.message.mail, argument)
        now = time.monotonic()
        return "451 4.7.1 Greylisted" if now - first.setdefault(key, now) < 1.5 else None
    with lab.peer(script={"rcpt": reply}) as host:
        sent = lab.send(f"bob@{lab.domain(host)}")
        lab.wait_gone(sent, seconds=20)
        assert len(host.messages) == 1 and not lab.reports(sent)


def test_lost_connections_are_reused_and_counted(lab):
    """Mail for one host goes over few connections."""
    with lab.peer() as host:
        domain = lab.domain(host)
        messages = [lab.send(f"user{n}@{domain}") for n in range(60)]
        lab.wait_gone(*messages)
        assert len(host.messages) == 60
        assert len(host.sessions) < 30
