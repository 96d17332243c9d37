"""Transport security: opportunistic, DANE (RFC 7672), MTA-STS (RFC 8461), REQUIRETLS (RFC 8689), a
policy of one's own; and the report of it (RFC 8460). TLSA records are in zones that nsd serves
signed, policies come from nginx over HTTPS."""

import datetime
import json
import ssl

import pytest

import authority
import dns
import https
import mail
import peer
import relay
import wire


def extra(lab):
    return """
policy verified.test {
    tls verified
}
policy secure.plain.test {
    tls verified
}
policy named.plain.test {
    tls verified .hoster.test
}
policy lenient.test {
    tls verified
}
policy required.test {
    tls required
}
policy clear.test {
    tls no
}
"""


@pytest.fixture(scope="module")
def lab():
    with relay.Lab(extra=extra) as lab:
        yield lab


@pytest.fixture(scope="module")
def web(lab):
    with https.Https(lab.address(), lab.sts_port) as web:
        yield web


def tls_peer(lab, certificate, **options):
    return lab.peer(tls=authority.server_context(certificate), **options)


def fixed_domain(lab, name, host):
    lab.records(f"{name}. MX 10 mx.{name}.", f"mx.{name}. A {host.host}")
    return name


def waits(lab, domain, host):
    """Mail for that domain is not delivered there, and goes on waiting; why."""
    sent = lab.send(f"bob@{domain}")
    row = lab.wait_for_row(sent)
    assert not host.messages
    assert row.last_status.startswith("4."), row
    return row


# ---- Opportunistic ------------------------------------------------------------------------------


def test_any_certificate_is_better_than_none(lab):
    with tls_peer(lab, lab.authority.self_made("whoever.test")) as host:
        lab.wait_gone(lab.send(f"bob@{lab.domain(host)}"))
        assert host.messages[0].is_tls


def test_without_starttls_it_goes_in_clear(lab):
    with lab.peer() as host:
        lab.wait_gone(lab.send(f"bob@{lab.domain(host)}"))
        assert not host.messages[0].is_tls


def test_broken_tls_does_not_stop_the_mail(lab):
    with tls_peer(lab, lab.authority.self_made("whoever.test"),
                  script={"handshake": b"nonsense instead of a handshake\r\n"}) as host:
        lab.wait_gone(lab.send(f"bob@{lab.domain(host)}"))
        assert not host.messages[0].is_tls


# ---- Sessions that are resumed -----------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_at_the_same_server_for_the_same_domain(version):
    with relay.Lab(outbound={"messages-per-connection": 1}) as lab:
        context = authority.server_context(lab.authority.self_made("whoever.test"))
        context.maximum_version = version
        with lab.peer(tls=context) as host:
            one, other = lab.domain(host), lab.domain(host)
            for domain in (one, one, one, other):
                lab.wait_gone(lab.send(f"bob@{domain}"))
            assert [m.session.is_resumed for m in host.messages] == [False, True, True, False]
            assert all(m.is_tls for m in host.messages)


def test_a_session_that_cannot_be_resumed_costs_no_security():
    """Whoever breaks the resumption gets a whole handshake, not a message in clear."""
    with relay.Lab(outbound={"messages-per-connection": 1}) as lab:
        certificate = lab.authority.self_made("whoever.test")
        with tls_peer(lab, certificate) as host:
            domain = lab.domain(host)
            lab.wait_gone(lab.send(f"bob@{domain}"))

        def drop_hello(session, _):
            session.receive()
            return peer.DROP
        with tls_peer(lab, certificate, host=host.host,
                      script=lambda session: {} if session.number else {"handshake": drop_hello}) as again:
            lab.wait_gone(lab.send(f"bob@{domain}"))
            assert again.messages[0].is_tls and not again.messages[0].session.is_resumed


# ---- A policy of one's own ---------------------------------------------------------------------------


def test_required_does_not_go_in_clear(lab):
    with lab.peer() as host:
        waits(lab, fixed_domain(lab, "required.test", host), host)
    with tls_peer(lab, lab.authority.self_made("whoever.test"), host=host.host) as again:
        again.wait_for_messages(1)
        assert again.messages[0].is_tls


def test_verified_wants_the_name(lab):
    with tls_peer(lab, lab.authority.issue("another.test")) as host:
        waits(lab, fixed_domain(lab, "verified.test", host), host)
        assert host.handshake_failures or not host.begun
    with tls_peer(lab, lab.authority.issue("mx.verified.test"), host=host.host) as again:
        again.wait_for_messages(1)
        assert again.messages[0].is_tls


def test_verified_does_not_believe_an_unsigned_mx(lab):
    """The name of its host is whoever's who forged the answer: the domain's own it must be."""
    with tls_peer(lab, lab.authority.issue("mx.forged.test")) as host:
        lab.records(f"secure.plain.test. MX 10 mx.forged.test.", f"mx.forged.test. A {host.host}")
        waits(lab, "secure.plain.test", host)
        assert not host.begun
        assert "certificate for" in lab.run("explain", "bob@secure.plain.test")
    for name in ("secure.plain.test", "mail.secure.plain.test", "*.secure.plain.test"):
        with tls_peer(lab, lab.authority.issue(name), host=host.host) as again:
            sent = lab.send("carol@secure.plain.test")
            lab.wait_gone(sent)
            assert any(" verified" in words for _, words in lab.trace(sent))


def test_verified_for_the_names_of_the_configuration(lab):
    with tls_peer(lab, lab.authority.issue("named.plain.test")) as host:
        lab.records(f"named.plain.test. MX 10 mx.elsewhere.plain.test.",
                    f"mx.elsewhere.plain.test. A {host.host}")
        waits(lab, "named.plain.test", host)
    with tls_peer(lab, lab.authority.issue("in3.hoster.test"), host=host.host) as again:
        again.wait_for_messages(1)
        assert again.messages[0].is_tls


def test_no_tls_where_that_is_wanted(lab):
    with tls_peer(lab, lab.authority.self_made("whoever.test")) as host:
        lab.wait_gone(lab.send(f"bob@{fixed_domain(lab, 'clear.test', host)}"))
        assert not host.messages[0].is_tls


# ---- DANE ---------------------------------------------------------------------------------------------


def dane_domain(lab, host, certificate, zone="test", record=None):
    domain = lab.domain(host, zone=zone, publish=False)
    lab.dns.add(f"_{lab.port}._tcp.mx1.{domain}. TLSA {record or dns.tlsa(certificate[0])}")
    lab.dns.publish()
    return domain


def test_dane_good(lab):
    certificate = lab.authority.self_made("whoever.test")  # the name does not matter: DANE-EE
    with tls_peer(lab, certificate) as host:
        sent = lab.send(f"bob@{dane_domain(lab, host, certificate)}")
        lab.wait_gone(sent)
        assert host.messages[0].is_tls
        # Nobody but DANE knows this certificate.
        assert any(" verified" in words for _, words in lab.trace(sent)), lab.trace(sent)


def test_dane_mismatch_waits(lab):
    certificate, other = (lab.authority.self_made("whoever.test") for _ in range(2))
    with tls_peer(lab, certificate) as host:
        domain = dane_domain(lab, host, other)
        waits(lab, domain, host)
        assert not host.begun
        # When the zone has been mended the mail goes.
        lab.dns.remove(f"_{lab.port}._tcp.mx1.{domain}.")
        lab.records(f"_{lab.port}._tcp.mx1.{domain}. TLSA {dns.tlsa(certificate[0])}")
        host.wait_for_messages(1)


def test_dane_without_starttls_waits(lab):
    certificate = lab.authority.self_made("whoever.test")
    with lab.peer() as host:
        waits(lab, dane_domain(lab, host, certificate), host)
        assert not host.begun


def test_dane_with_another_mx_that_is_right(lab):
    certificate, other = (lab.authority.self_made("whoever.test") for _ in range(2))
    with tls_peer(lab, certificate) as wrong, tls_peer(lab, certificate) as right:
        domain = lab.domain(wrong, right, publish=False)
        lab.records(f"_{lab.port}._tcp.mx1.{domain}. TLSA {dns.tlsa(other[0])}",
                    f"_{lab.port}._tcp.mx2.{domain}. TLSA {dns.tlsa(certificate[0])}")
        lab.wait_gone(lab.send(f"bob@{domain}"))
        assert (len(wrong.messages), len(right.messages)) == (0, 1)


def test_records_that_nobody_can_use_want_tls_only(lab):
    """RFC 7672 §2.2: all of them unusable (PKIX-EE): encrypted, whoever it is."""
    certificate = lab.authority.self_made("whoever.test")
    unusable = "1 1 1 " + "00" * 32
    with tls_peer(lab, certificate) as host:
        lab.wait_gone(lab.send(f"bob@{dane_domain(lab, host, certificate, record=unusable)}"))
        assert host.messages[0].is_tls


def test_records_of_an_unsigned_zone_do_not_count(lab):
    certificate, other = (lab.authority.self_made("whoever.test") for _ in range(2))
    with tls_peer(lab, certificate) as host:
        lab.wait_gone(lab.send(f"bob@{dane_domain(lab, host, other, zone='plain.test')}"))
        assert host.messages[0].is_tls


# ---- MTA-STS --------------------------------------------------------------------------------------------


def sts_domain(lab, web, host, mode, mx=None, certificate=None, inside=""):
    """In the unsigned zone: DANE has no say there."""
    domain = lab.domain(host, zone="plain.test", publish=False)
    policy = f"version: STSv1\r\nmode: {mode}\r\nmx: {mx or 'mx1.' + domain}\r\nmax_age: 86400\r\n"
    web.serve(domain, policy, certificate or lab.authority.issue(f"mta-sts.{domain}"), inside)
    lab.records(f'_mta-sts.{domain}. TXT "v=STSv1; id=1;"', f"mta-sts.{domain}. A {web.host}")
    return domain


def test_sts_good(lab, web):
    host_name = f"mx1.d{next(lab.names) + 1}.plain.test"
    with tls_peer(lab, lab.authority.issue(host_name)) as host:
        domain = sts_domain(lab, web, host, "enforce")
        assert host_name == f"mx1.{domain}"
        lab.wait_gone(lab.send(f"bob@{domain}"))
        assert host.messages[0].is_tls
        lab.wait_gone(lab.send(f"bob@{domain}"))
        assert len(web.fetches(domain)) == 1  # it is kept


def test_sts_wrong_certificate_waits(lab, web):
    for certificate in (lab.authority.issue("another.test"), lab.authority.self_made("x.test")):
        with tls_peer(lab, certificate) as host:
            waits(lab, sts_domain(lab, web, host, "enforce"), host)
            assert not host.begun


def test_sts_without_starttls_waits(lab, web):
    with lab.peer() as host:
        waits(lab, sts_domain(lab, web, host, "enforce"), host)
        assert not host.begun


def test_sts_wrong_mx_waits(lab, web):
    with tls_peer(lab, lab.authority.self_made("x.test")) as host:
        waits(lab, sts_domain(lab, web, host, "enforce", mx="mx.somebody-else.test"), host)
        assert not host.sessions


def test_sts_with_another_mx_that_is_right(lab, web):
    """What one host fails by, the next one may meet."""
    right_name = f"mx2.d{next(lab.names) + 1}.plain.test"
    with tls_peer(lab, lab.authority.self_made("x.test")) as wrong, \
            tls_peer(lab, lab.authority.issue(right_name)) as right:
        domain = lab.domain(wrong, right, zone="plain.test", publish=False)
        assert right_name == f"mx2.{domain}"
        web.serve(domain, f"version: STSv1\r\nmode: enforce\r\nmx: *.{domain}\r\nmax_age: 86400\r\n",
                  lab.authority.issue(f"mta-sts.{domain}"))
        lab.records(f'_mta-sts.{domain}. TXT "v=STSv1; id=1;"', f"mta-sts.{domain}. A {web.host}")
        lab.wait_gone(lab.send(f"bob@{domain}"))
        assert (len(wrong.messages), len(right.messages)) == (0, 1)


def test_sts_testing_goes_on(lab, web):
    with tls_peer(lab, lab.authority.self_made("x.test")) as host:
        lab.wait_gone(lab.send(f"bob@{sts_domain(lab, web, host, 'testing')}"))
        assert len(host.messages) == 1


@pytest.mark.parametrize("fault", ["wrong certificate", "redirect", "not found"])
def test_a_policy_that_cannot_be_had_does_not_count(lab, web, fault):
    """RFC 8461 §3.3: no policy then, and the mail goes as without one."""
    certificate = lab.authority.self_made("x.test") if fault == "wrong certificate" else None
    inside = {"redirect": "return 302 /elsewhere;", "not found": "return 404;"}.get(fault, "")
    with tls_peer(lab, lab.authority.self_made("x.test")) as host:
        domain = sts_domain(lab, web, host, "enforce", certificate=certificate, inside=inside)
        lab.wait_gone(lab.send(f"bob@{domain}"))
        assert host.messages[0].is_tls


# ---- Whom to trust, anew ---------------------------------------------------------------------------------


def test_a_reload_reads_whom_to_trust_again(lab):
    """The file of authorities and those with keys of zones: what stands in them counts from then on,
    and what does not no more."""
    with relay.Lab(extra=extra) as other:
        ours, theirs = other.authority, lab.authority
        with tls_peer(other, theirs.issue("mx.verified.test")) as host:
            sent = other.send(f"bob@{fixed_domain(other, 'verified.test', host)}")
            other.wait_for_row(sent)
            bundle = ours.file.read_bytes()
            ours.file.write_bytes(bundle + theirs.file.read_bytes())
            other.run("reload")
            other.wait_gone(sent)
            assert host.messages[0].is_tls
            ours.file.write_bytes(bundle)
            other.run("reload")
            again = other.send("carol@verified.test")
            other.wait_for_row(again)
            assert len(host.messages) == 1


def test_a_reload_reads_the_keys_of_zones_again():
    """With another key for the zone nothing in it is valid, so nothing goes there."""
    with relay.Lab(start=False) as lab, dns.Dns() as stranger:
        trusted = lab.dns.anchor.with_suffix(".trusted")
        trusted.write_bytes(stranger.anchor.read_bytes())
        lab.server.config_text = lab.server.config_text.replace(str(lab.dns.anchor), str(trusted))
        lab.start()
        with lab.peer() as host:
            sent = lab.send(f"bob@{lab.domain(host)}")
            lab.wait_for_row(sent)
            assert not host.sessions
            trusted.write_bytes(lab.dns.anchor.read_bytes())
            lab.run("reload")
            lab.wait_gone(sent)
            assert len(host.messages) == 1


# ---- REQUIRETLS -------------------------------------------------------------------------------------------

REQUIRING = (*peer.EXTENSIONS, "REQUIRETLS")


def send_requiring(lab, domain, fields=b""):
    """REQUIRETLS is offered under TLS, so it is a submission that asks for it."""
    sent, reply = lab.submit(f"bob@{domain}", fields=fields, mail_args="REQUIRETLS")
    assert reply.startswith("250"), reply
    return sent


def requiring_domain(lab, host):
    """DNSSEC makes the MX known for sure (RFC 8689 §4.2.1)."""
    return lab.domain(host, publish=False)


def test_requiretls_goes_to_who_offers_it(lab):
    certificate = lab.authority.self_made("whoever.test")
    with tls_peer(lab, certificate, extensions=REQUIRING) as host:
        domain = dane_domain(lab, host, certificate)
        lab.wait_gone(send_requiring(lab, domain))
        assert "REQUIRETLS" in host.messages[0].mail


def test_requiretls_bounces_where_it_is_not_offered(lab):
    certificate = lab.authority.self_made("whoever.test")
    with tls_peer(lab, certificate) as host:
        sent = send_requiring(lab, dane_domain(lab, host, certificate))
        fields = lab.wait_for_report(sent).recipients[0]
        assert fields["Status"] == "5.7.30"
        assert not host.messages


def requiring_pair(lab, first, second, certificate):
    """A domain with two hosts that DANE makes known."""
    domain = lab.domain(first, second, publish=False)
    lab.records(*(f"_{lab.port}._tcp.mx{n}.{domain}. TLSA {dns.tlsa(certificate[0])}"
                  for n in (1, 2)))
    return domain


def test_requiretls_tries_the_other_host(lab):
    """RFC 8689 §4.2.1: who does not offer it is left for the next one of the list."""
    certificate = lab.authority.self_made("whoever.test")
    with tls_peer(lab, certificate) as first, \
            tls_peer(lab, certificate, extensions=REQUIRING) as second:
        domain = requiring_pair(lab, first, second, certificate)
        sent = send_requiring(lab, domain)
        lab.wait_gone(sent)
        assert "REQUIRETLS" in second.messages[0].mail
        assert not first.begun and not lab.reports(sent)


def test_requiretls_bounces_once_nobody_offers_it(lab):
    certificate = lab.authority.self_made("whoever.test")
    with tls_peer(lab, certificate) as first, tls_peer(lab, certificate) as second:
        sent = send_requiring(lab, requiring_pair(lab, first, second, certificate))
        assert lab.wait_for_report(sent).recipients[0]["Status"] == "5.7.30"
        assert first.sessions and second.sessions
        assert not first.begun and not second.begun


def test_requiretls_waits_for_a_host_that_may_offer_it(lab):
    """The other host cannot be asked now: that is no refusal, and no trouble of the destination."""
    certificate = lab.authority.self_made("whoever.test")
    with tls_peer(lab, certificate) as first:
        nobody = lab.address()
        domain = lab.domain(first, nobody, publish=False)
        lab.records(*(f"_{lab.port}._tcp.mx{n}.{domain}. TLSA {dns.tlsa(certificate[0])}"
                      for n in (1, 2)))
        sent = send_requiring(lab, domain)
        assert lab.wait_for_row(sent).last_status.startswith("4.")
        lab.wait_gone(lab.send(f"carol@{domain}"))
        assert len(first.messages) == 1
        with tls_peer(lab, certificate, host=nobody, extensions=REQUIRING) as second:
            second.wait_for_messages(1)
            assert "REQUIRETLS" in second.messages[0].mail


def test_requiretls_is_not_offered_in_clear(lab):
    with relay.wire.Smtp(lab.server.address("smtp")) as client:
        client.reply()
        client.send(b"EHLO x.test\r\n")
        lines = [client.line()]
        while lines[-1][3] == "-":
            lines.append(client.line())
        assert not any("REQUIRETLS" in line for line in lines)


# ---- TLS-Required: No (RFC 8689 §5) ---------------------------------------------------------------


NO_TLS_REQUIRED = b"TLS-Required: No\r\n"


def goes_anyway(lab, domain, host):
    octets, _ = wire.message()
    lab.wait_gone(lab.send(f"carol@{domain}", octets=NO_TLS_REQUIRED + octets))
    assert len(host.messages) == 1


def test_dane_mismatch_yields_to_the_sender(lab):
    """His message goes, with what TLS there is; one that says nothing waits beside it."""
    certificate, other = (lab.authority.self_made("whoever.test") for _ in range(2))
    with tls_peer(lab, certificate) as host:
        domain = dane_domain(lab, host, other)
        waits(lab, domain, host)
        goes_anyway(lab, domain, host)
        assert host.messages[0].is_tls


def test_dane_without_starttls_yields_to_the_sender(lab):
    with lab.peer() as host:
        goes_anyway(lab, dane_domain(lab, host, lab.authority.self_made("whoever.test")), host)
        assert not host.messages[0].is_tls


def test_sts_yields_to_the_sender(lab, web):
    with lab.peer() as host:
        goes_anyway(lab, sts_domain(lab, web, host, "enforce"), host)


def test_a_policy_of_our_own_yields_to_the_sender(lab):
    with lab.peer() as host:
        goes_anyway(lab, fixed_domain(lab, "lenient.test", host), host)


def test_two_fields_say_nothing(lab):
    certificate, other = (lab.authority.self_made("whoever.test") for _ in range(2))
    with tls_peer(lab, certificate) as host:
        octets, _ = wire.message()
        sent = lab.send(f"bob@{dane_domain(lab, host, other)}", octets=NO_TLS_REQUIRED * 2 + octets)
        lab.wait_for_row(sent)
        assert not host.messages


def test_the_envelope_goes_before_the_header(lab):
    certificate, other = (lab.authority.self_made("whoever.test") for _ in range(2))
    with tls_peer(lab, certificate, extensions=REQUIRING) as host:
        sent = send_requiring(lab, dane_domain(lab, host, other), fields=NO_TLS_REQUIRED)
        lab.wait_for_row(sent)
        assert not host.messages


# ---- The report ----------------------------------------------------------------------------------------------


def test_the_report_has_each_failure(lab, web):
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()

    def policies():
        text = lab.run("tls-report", day)
        reports = json.loads(text) if text.strip() else []
        reports = reports if isinstance(reports, list) else [reports]
        return [policy for report in reports for policy in report["policies"]]

    def results():
        return {detail["result-type"] for policy in policies()
                for detail in policy.get("failure-details", [])}

    def kinds():
        return {policy["policy"]["policy-type"] for policy in policies()}
    # What is found out is told within seconds, not at once.
    mail.wait_until(lambda: {"certificate-host-mismatch", "starttls-not-supported"} <= results())
    mail.wait_until(lambda: {"tlsa", "sts"} <= kinds())
    assert any(policy["summary"]["total-successful-session-count"] > 0 for policy in policies())
    assert {"tlsa-invalid", "validation-failure", "certificate-not-trusted"} & results()
