"""Where mail goes: what the DNS says, as nsd says it."""

import pytest

import mail
import peer
import relay

REFUSED = "127.255.0"


ROUTE = """
route by-srv {
    domains srv.test
    to srv.test
    lookup srv
    service submission
}
"""


@pytest.fixture(scope="module")
def lab():
    with relay.Lab(extra=ROUTE, outbound={"refuse-addresses": f"{REFUSED}.0/24"}) as lab:
        yield lab


def test_the_preferred_mx_has_it(lab):
    with lab.peer() as first, lab.peer() as second:
        domain = lab.domain(first, second)
        messages = [lab.send(f"bob@{domain}") for _ in range(5)]
        lab.wait_gone(*messages)
        assert (len(first.messages), len(second.messages)) == (5, 0)


@pytest.mark.parametrize("fault", ["closed", "greets with 421", "greets with 554", "drops"])
def test_the_next_mx_where_the_preferred_one_does_not_serve(lab, fault):
    script = {"closed": {}, "greets with 421": {"greeting": "421 4.3.2 Not now"},
              "greets with 554": {"greeting": "554 5.3.2 Not here"},
              "drops": {"greeting": peer.DROP}}[fault]
    with lab.peer(script=script) as first, lab.peer() as second:
        domain = lab.domain(lab.address() if fault == "closed" else first, second)
        sent = lab.send(f"bob@{domain}")
        second.wait_for_messages(1)
        lab.wait_gone(sent)
        assert not first.messages


def test_equals_share_the_mail(lab):
    with lab.peer() as first, lab.peer() as second:
        names = [lab.name() for _ in range(20)]
        for name in names:
            lab.dns.add(f"{name}. MX 10 a.{name}.", f"{name}. MX 10 b.{name}.",
                        f"a.{name}. A {first.host}", f"b.{name}. A {second.host}")
        lab.dns.publish()
        lab.wait_gone(lab.send(*(f"bob@{name}" for name in names)))
        assert first.messages and second.messages


def test_a_domain_without_mx_is_a_host(lab):
    with lab.peer() as host:
        name = lab.name()
        lab.records(f"{name}. A {host.host}")
        lab.wait_gone(lab.send(f"bob@{name}"))
        assert host.messages[0].recipients == [f"bob@{name}"]


def test_ipv6(lab):
    with lab.peer(host="::1") as host:
        name = lab.name()
        lab.records(f"{name}. MX 10 mx.{name}.", f"mx.{name}. AAAA ::1")
        lab.wait_gone(lab.send(f"bob@{name}"))
        assert len(host.messages) == 1


def test_ipv4_where_ipv6_does_not_answer(lab):
    with lab.peer() as host:
        name = lab.name()
        lab.records(f"{name}. MX 10 mx.{name}.", f"mx.{name}. AAAA ::1",
                    f"mx.{name}. A {host.host}")
        lab.wait_gone(lab.send(f"bob@{name}"))
        assert len(host.messages) == 1


def test_a_null_mx_bounces_at_once(lab):
    name = lab.name()
    lab.records(f"{name}. MX 0 .", f"{name}. A {lab.address()}")
    sent = lab.send(f"bob@{name}")
    fields = lab.wait_for_report(sent).recipient(f"bob@{name}")
    assert fields["Status"] == "5.1.10"  # RFC 7505 §3
    assert not lab.waiting(sent)


def test_srv_where_the_route_asks_for_it(lab):
    with lab.peer() as first, lab.peer() as second:
        lab.records(f"_submission._tcp.srv.test. SRV 20 0 {lab.port} second.srv.test.",
                    f"_submission._tcp.srv.test. SRV 10 0 {lab.port} first.srv.test.",
                    f"first.srv.test. A {first.host}", f"second.srv.test. A {second.host}")
        lab.wait_gone(lab.send("bob@srv.test"))
        assert (len(first.messages), len(second.messages)) == (1, 0)
    with lab.peer(host=second.host) as second:
        lab.wait_gone(lab.send("bob@srv.test"))
        assert len(second.messages) == 1


def test_address_literals(lab):
    with lab.peer() as four, lab.peer(host="::1") as six:
        lab.wait_gone(lab.send(f"bob@[{four.host}]"), lab.send("bob@[IPv6:::1]"))
        assert four.messages[0].recipients == [f"bob@[{four.host}]"]
        assert len(six.messages) == 1


def test_an_mx_that_is_this_server_is_a_loop(lab):
    name = lab.name()
    lab.records(f"{name}. MX 10 mx.demo.test.", "mx.demo.test. A 127.0.0.1")
    sent = lab.send(f"bob@{name}")
    fields = lab.wait_for_report(sent).recipient(f"bob@{name}")
    assert fields["Status"] == "5.4.6"


def test_a_backup_mx_does_not_send_to_itself(lab):
    """RFC 5321 §5.1: as good as ourselves and worse are left out; what is better is tried."""
    with lab.peer() as better, lab.peer() as worse:
        name = lab.name()
        lab.records(f"{name}. MX 10 a.{name}.", f"{name}. MX 20 mx.demo.test.",
                    f"{name}. MX 30 c.{name}.", "mx.demo.test. A 127.0.0.1",
                    f"a.{name}. A {better.host}", f"c.{name}. A {worse.host}")
        lab.wait_gone(lab.send(f"bob@{name}"))
        assert (len(better.messages), len(worse.messages)) == (1, 0)
        better.close()
        sent = lab.send(f"bob@{name}")
        lab.wait_for_row(sent)
        assert not worse.sessions


def test_no_such_domain_bounces(lab):
    sent = lab.send("bob@no-such-domain.test")
    fields = lab.wait_for_report(sent).recipient("bob@no-such-domain.test")
    assert fields["Status"] == "5.1.2"


def test_a_domain_without_any_address_bounces(lab):
    name = lab.name()
    lab.records(f"{name}. TXT nothing")
    fields = lab.wait_for_report(lab.send(f"bob@{name}")).recipient(f"bob@{name}")
    assert fields["Status"].startswith("5.")


def test_what_cannot_be_validated_waits(lab):
    """SERVFAIL is nobody's answer: the mail waits, and goes when there is an answer."""
    with lab.peer() as host:
        name = lab.domain(host, zone="bogus.test")
        sent = lab.send(f"bob@{name}")
        row = lab.wait_for_row(sent)
        assert row.last_status.startswith("4."), row
        assert not host.sessions


def test_name_servers_that_do_not_answer_are_waited_for(lab):
    with lab.peer() as host:
        waits = lab.send("bob@deaf.test")
        name = lab.domain(host)
        lab.wait_gone(lab.send(f"bob@{name}"))  # nobody else does
        row = lab.wait_for_row(waits, seconds=60)
        assert row.last_status.startswith("4."), row


def test_a_cname_is_followed(lab):
    with lab.peer() as host:
        domain = lab.domain(host)
        name = lab.name()
        lab.records(f"{name}. CNAME {domain}.")
        lab.wait_gone(lab.send(f"bob@{name}"))
        assert host.messages[0].recipients == [f"bob@{name}"]


def test_an_mx_behind_a_cname_is_followed(lab):
    with lab.peer() as host:
        name = lab.name()
        lab.records(f"{name}. MX 10 mx.{name}.", f"mx.{name}. CNAME real.{name}.",
                    f"real.{name}. A {host.host}")
        lab.wait_gone(lab.send(f"bob@{name}"))
        assert len(host.messages) == 1


def test_both_spellings_of_an_international_name(lab):
    with lab.peer() as host:
        lab.records("xn--bcher-kva.test. MX 10 mx.xn--bcher-kva.test.",
                    f"mx.xn--bcher-kva.test. A {host.host}")
        octets, _ = relay.wire.message()
        lab.wait_gone(lab.send("bob@xn--bcher-kva.test"))
        lab.wait_gone(lab.send("bob@bücher.test", octets=octets, mail_args="SMTPUTF8"))
        assert len(host.messages) == 2


def test_refused_addresses_are_never_connected_to(lab):
    with lab.peer(host=f"{REFUSED}.1") as trap:
        name = lab.domain(trap)
        sent = lab.send(f"bob@{name}", f"eve@[{trap.host}]")
        assert {f["Action"] for f in lab.wait_for_report(sent).recipients} == {"failed"}
        assert not trap.sessions


def test_a_hundred_mx_are_bounded(lab):
    """Nobody's zone makes us try for ever: after some hosts it is later."""
    hosts = [lab.address() for _ in range(100)]
    with lab.peer() as last:
        name = lab.domain(*hosts, last)
        sent = lab.send(f"bob@{name}")
        lab.wait_for_row(sent)
        assert not last.sessions


# ---- Unix sockets ------------------------------------------------------------------------------------


def test_lmtp_over_a_unix_socket_from_a_reload_on(lab):
    """The courier may not make such sockets until a route wants one: then it starts anew. Each
    recipient has a reply of his own."""
    def replies(session, message):
        return "\r\n".join("552 5.2.2 Full" if r.startswith("full") else "250 2.0.0 Taken"
                           for r in message.recipients)
    folder = lab.server.config.parent
    path = folder / "lmtp"
    with peer.Peer(host=str(path), is_lmtp=True, script={"dot": replies},
                   extensions=("PIPELINING", "8BITMIME")) as server:
        path.chmod(0o777)
        was = lab.server.config.read_text()
        lab.server.config.write_text(
            was + f"route box {{\n    domains box.test\n    to unix:{path}\n    protocol lmtp\n}}\n")
        lab.run("reload")
        sent = lab.send("bob@box.test", "full@box.test", rcpt_args="NOTIFY=SUCCESS,FAILURE")
        lab.wait_gone(sent)
        assert server.begun[0].octets.endswith(sent.octets)
        assert server.begun[0].recipients == ["bob@box.test", "full@box.test"]
        actions = {fields["Final-Recipient"].partition(";")[2].strip(): fields["Action"]
                   for message in mail.wait_until(lambda: full_story(lab, sent))
                   for fields in message.recipients}
        assert actions == {"bob@box.test": "delivered", "full@box.test": "failed"}
        assert lab.server.events("starts-anew")
        lab.server.config.write_text(was)
        lab.run("reload")


def full_story(lab, sent):
    """The reports about a message, once they tell of everybody."""
    reports = [relay.Report(message) for message in lab.reports(sent)]
    told = sum(len(report.recipients) for report in reports)
    return reports if told == len(sent.recipients) else None
