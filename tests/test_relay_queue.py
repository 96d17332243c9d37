"""The queue: nobody waits for another one's trouble, limits hold, and the operator's commands."""

import threading
import time

import pytest

import mail
import peer
import relay
import wire

LIMIT = 30


@pytest.fixture(scope="module")
def lab():
    with relay.Lab(outbound={"recipients-per-day": LIMIT, "retry": "1h", "timeout": "10s"},
                   extra="policy narrow.test single.test {\n    connections 1\n}\n") as lab:
        yield lab


def flood(lab, recipient, count, sender):
    """Many small messages in one session."""
    with wire.Smtp(lab.server.address("smtp")) as client:
        client.greet()
        for _ in range(count):
            octets, _ = wire.message()
            assert client.message(octets, [recipient], sender).startswith("250")


# ---- Fairness --------------------------------------------------------------------------------------


def test_dead_and_slow_domains_delay_nobody(lab):
    slow = [lab.peer(script={"greeting": peer.HANG}) for _ in range(5)]
    domains = [lab.domain(host, publish=False) for host in slow]
    domains += [lab.domain(lab.address(), publish=False) for _ in range(5)]
    with lab.peer() as good:
        live = lab.domain(good)
        for domain in domains:
            flood(lab, f"bob@{domain}", 20, "mallory@elsewhere.test")
        begin = time.monotonic()
        lab.wait_gone(*(lab.send(f"bob@{live}") for _ in range(10)))
        assert time.monotonic() - begin < 5
        assert len(good.messages) == 10
    for host in slow:
        host.close()
    lab.run("queue", "remove", "--sender", "mallory@elsewhere.test")
    mail.wait_until(lambda: not lab.waiting())


def test_one_senders_flood_does_not_hold_another_at_the_same_domain(lab):
    """A server of one connection that takes its time: the one message does not wait for 600."""
    def slowly(session, _):
        session.peer.over.wait(0.02)
    with lab.peer(script={"dot": slowly}) as host:
        domain = "narrow.test"
        lab.records(f"{domain}. MX 10 mx.{domain}.", f"mx.{domain}. A {host.host}")
        threads = [threading.Thread(target=flood, args=(lab, f"bob@{domain}", 150,
                                                        "mallory@elsewhere.test"))
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        before = len(host.messages)
        sent = lab.send(f"eve@{domain}", sender="alice@demo.test")
        mail.wait_until(lambda: any(m.message_id() == sent.id for m in host.messages), 30)
        assert len(lab.waiting()) > 50, "the flood was over too soon to show anything"
        assert next(n for n, m in enumerate(host.messages)
                    if m.message_id() == sent.id) - before < 250
        lab.run("queue", "remove", "--sender", "mallory@elsewhere.test")
        mail.wait_until(lambda: not lab.waiting(), 30)


def test_what_one_host_lacks_goes_to_another_over_the_only_connection(lab):
    """One connection at a time for that domain: it changes hosts for a message that needs SMTPUTF8,
    and the others do not wait for that."""
    without = tuple(e for e in peer.EXTENSIONS if e != "SMTPUTF8")
    with lab.peer(extensions=without) as first, lab.peer() as second:
        lab.records(*(f"single.test. MX {n}0 mx{n}.single.test." for n in (1, 2)),
                    f"mx1.single.test. A {first.host}", f"mx2.single.test. A {second.host}")
        sent = [lab.send(f"bob{n}@single.test") for n in range(5)]
        sent.append(lab.send("jürgen@single.test", mail_args="SMTPUTF8"))
        sent += [lab.send(f"carol{n}@single.test") for n in range(5)]
        lab.wait_gone(*sent)
        assert not any(lab.reports(message) for message in sent)
        assert "jürgen@single.test" in [r for m in second.messages for r in m.recipients]
        assert len(first.messages) + len(second.messages) == len(sent)
        assert first.open_most <= 1 and second.open_most <= 1


# ---- Limits and holds --------------------------------------------------------------------------------


def test_an_account_has_its_daily_limit(lab):
    with lab.peer() as host:
        domain = lab.domain(host)
        for first in range(0, LIMIT + 10, 10):
            sent, reply = lab.submit(*(f"user{first + n}@{domain}" for n in range(10)), user="bob")
            assert reply.startswith("250"), reply
        mail.wait_until(lambda: sum(len(m.recipients) for m in host.messages) == LIMIT)
        held = mail.wait_until(lambda: [row for row in lab.waiting(sent) if row.held])
        assert len(held) == 10
        assert "day" in held[0].words or "limit" in held[0].words, held
        assert "alice" not in held[0].words
        lab.submit(f"other@{domain}", user="alice")  # another account is not touched
        mail.wait_until(lambda: any(f"other@{domain}" in m.recipients for m in host.messages))
        lab.run("queue", "release", "--sender", "bob@demo.test")
        lab.wait_gone(sent)


def test_future_release_holds_for_mailboxes_here(lab):
    """RFC 4865: one here, one elsewhere; and a mailbox that has gone by then."""
    lab.run("account", "add", "leaver@demo.test", "--no-password")
    with lab.peer() as host:
        elsewhere = f"bob@{lab.domain(host)}"
        sent, reply = lab.submit("bob@demo.test", "leaver@demo.test", elsewhere,
                                 mail_args="HOLDFOR=3")
        assert reply.startswith("250"), reply
        came = lambda: [m for m in lab.inbox("bob") if m["Message-ID"] == sent.id]
        assert not came() and not host.messages
        rows = lab.waiting(sent)
        assert {row.recipient: row.destination.partition(":")[0] for row in rows} == {
            "bob@demo.test": "here", "leaver@demo.test": "here", elsewhere: "dns"}
        lab.run("account", "remove", "leaver@demo.test")
        [message] = mail.wait_until(came)
        assert message["Return-Path"].strip() == "<alice@demo.test>"
        assert len(message.get_all("Received")) == 2  # when it came, and when it was let go
        report = lab.wait_for_report(sent)
        told = {r["Final-Recipient"].partition(";")[2].strip()
                for message in lab.reports(sent) for r in relay.Report(message).recipients}
        assert "leaver@demo.test" in told and "bob@demo.test" not in told, report.words


def test_what_is_held_for_a_mailbox_here_needs_nothing_of_others(lab):
    """It never leaves the machine: TLS, and servers that know of deadlines, are here."""
    sent, reply = lab.submit("bob@demo.test", mail_args="HOLDFOR=1 REQUIRETLS BY=600;R")
    assert reply.startswith("250"), reply
    mail.wait_until(lambda: [m for m in lab.inbox("bob") if m["Message-ID"] == sent.id])
    assert not lab.reports(sent)


def test_future_release_holds(lab):
    with lab.peer() as host:
        sent, reply = lab.submit(f"bob@{lab.domain(host)}", mail_args="HOLDFOR=3")
        begin = time.monotonic()
        assert reply.startswith("250"), reply
        assert lab.waiting(sent)
        host.wait_for_messages(1)
        assert 2 <= time.monotonic() - begin < 10


# ---- Commands -------------------------------------------------------------------------------------------


@pytest.fixture
def stuck(lab):
    """Three messages that wait for a server that says 450, and that server."""
    mood = {"reply": "450 4.2.0 Not now"}
    host = lab.peer(script={"rcpt": lambda session, argument: mood["reply"]})
    domain = lab.domain(host)
    messages = [lab.send(f"{name}@{domain}") for name in ("ann", "ben", "cid")]
    for sent in messages:
        lab.wait_for_row(sent)
    host.relent = lambda: mood.update(reply=None)
    yield host, domain, messages
    lab.run("queue", "remove", "--domain", domain)
    host.close()


def test_list_and_show(lab, stuck):
    _, domain, messages = stuck
    text = lab.run("queue", "list", "--domain", domain)
    for name in ("ann", "ben", "cid"):
        assert f"{name}@{domain}" in text
    rows = lab.queue_json("--domain", domain)
    assert len(rows) == 3
    assert {row["recipient"] for row in rows} == {f"{n}@{domain}" for n in ("ann", "ben", "cid")}
    assert all("Not now" in str(row) for row in rows)
    row = lab.waiting(messages[0])[0]
    shown = lab.run("queue", "show", str(row.id))
    assert "Not now" in shown and f"ann@{domain}" in shown
    assert len(lab.queue_json("--recipient", f"ben@{domain}")) == 1


def test_retry_now(lab, stuck):
    host, domain, messages = stuck
    host.relent()
    lab.run("queue", "retry", "--recipient", f"ann@{domain}")
    host.wait_for_messages(1)
    lab.wait_gone(messages[0])
    lab.run("queue", "retry", "--domain", domain)
    lab.wait_gone(*messages)
    assert len(host.messages) == 3


def test_hold_and_release(lab, stuck):
    host, domain, messages = stuck
    lab.run("queue", "hold", "--recipient", f"ann@{domain}")
    host.relent()
    lab.run("queue", "retry", "--domain", domain)
    lab.wait_gone(*messages[1:])
    assert lab.waiting(messages[0])[0].held
    lab.run("queue", "release", "--recipient", f"ann@{domain}")
    lab.run("queue", "retry", "--recipient", f"ann@{domain}")
    lab.wait_gone(messages[0])
    assert len(host.messages) == 3


def test_bounce(lab, stuck):
    _, domain, messages = stuck
    lab.run("queue", "bounce", "--recipient", f"ann@{domain}")
    fields = lab.wait_for_report(messages[0]).recipient(f"ann@{domain}")
    assert fields["Action"] == "failed"
    lab.wait_gone(messages[0])
    assert sum(row.recipient.endswith(f"@{domain}") for row in lab.waiting()) == 2


def test_remove(lab, stuck):
    _, domain, messages = stuck
    lab.run("queue", "remove", "--domain", domain)
    lab.wait_gone(*messages)
    assert not any(lab.reports(sent) for sent in messages)


def test_reroute(lab, stuck):
    _, domain, messages = stuck
    with lab.peer() as other:
        target = lab.domain(other)
        lab.run("queue", "reroute", "--domain", domain, "--to", f"dns:{target}")
        lab.run("queue", "retry", "--sender", relay.SENDER)
        lab.wait_gone(*messages)
        assert len(other.messages) == 3


def test_explain_tells_where_mail_would_go(lab):
    with lab.peer() as host:
        domain = lab.domain(host)
        text = lab.run("explain", f"bob@{domain}")
        assert f"mx1.{domain}" in text and host.host in text
        assert "alice" in lab.run("explain", "alice@demo.test")


def test_trace_tells_each_attempt(lab, stuck):
    host, domain, messages = stuck
    trace_id = lab.waiting(messages[0])[0].trace_id
    text = lab.run("trace", trace_id)
    assert "Not now" in text and host.host in text
    host.relent()
    lab.run("queue", "retry", "--domain", domain)
    lab.wait_gone(*messages)
    assert "Taken" in lab.run("trace", trace_id)


def test_metrics_tell_of_the_queue(lab, stuck):
    import urllib.request
    port = lab.server.base + relay.served.METRICS
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    names = {line.split("{")[0].split()[0] for line in text.splitlines()
             if line and line[0] != "#"}
    assert any(name.startswith("postern_courier_") for name in names), names
