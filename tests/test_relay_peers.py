"""Mail reaches other servers' mailboxes as it was sent: Postfix, Exim, OpenSMTPD, another Postern, and
a smarthost that wants a login."""

import smtplib

import pytest

import mail
import peers
import postern
import relay
import served
import wire

BODIES = {
    "plain": b"Hello.\r\n",
    "empty": b"",
    "dots": b".\r\n..\r\n.x\r\n \r\n.\r\n",
    "eight bit": "Grüße, 你好\r\n".encode() * 50,
    "odd spaces": b"trailing \t \r\n\t\r\n   \r\n",
    "long lines": (b"x" * 990 + b"\r\n") * 300,
    "three megabytes": wire.text(3 << 20),
}
SECRET = "a long secret"


def write_password(lab):
    path = lab.authority.folder / "password"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def routes(lab):
    lab.smarthost, lab.second = lab.address(), lab.address()
    password = write_password(lab)
    return f"""
route smarthost {{
    domains .smart.test
    to {lab.smarthost}:{lab.port}
    tls required
    auth relay {password}
}}
route postern {{
    domains .scram.test
    to {lab.second}:{lab.port}
    tls required
    auth carol@second.test {password}
}}
"""


@pytest.fixture(scope="module")
def lab():
    with relay.Lab(extra=routes) as lab:
        yield lab


def make_postfix(lab):
    host = lab.address()
    domain = lab.domain(host)
    return peers.Postfix(host=host, port=lab.port, domain=domain,
                         certificate=lab.authority.issue(f"mx1.{domain}")), domain


def make_exim(lab):
    host = lab.address()
    domain = lab.domain(host)
    return peers.Exim(host=host, port=lab.port, domain=domain,
                      certificate=lab.authority.issue(f"mx1.{domain}")), domain


def make_opensmtpd(lab):
    host = lab.address()
    domain = lab.domain(host)
    return peers.OpenSmtpd(host=host, port=lab.port, domain=domain), domain


MAKERS = {"postfix": make_postfix, "exim": make_exim, "opensmtpd": make_opensmtpd}


@pytest.fixture(scope="module", params=MAKERS)
def server(lab, request):
    program, domain = MAKERS[request.param](lab)
    program.kind = request.param
    yield program, domain
    program.close()


def stored(program, sent):
    """The message in its Maildir, with the line ends that it had; None until it is there."""
    for path in program.delivered():
        octets = path.read_bytes()
        if sent.id.encode() in octets:
            return octets.replace(b"\n", b"\r\n")
    return None


def as_sent(octets):
    """Without what servers put in front of the sender's first field."""
    return octets[octets.index(b"From: someone@elsewhere.test\r\n"):]


def test_every_octet_arrives(lab, server):
    program, domain = server
    messages = [lab.send(f"box@{domain}", body=body) for body in BODIES.values()]
    for name, sent in zip(BODIES, messages):
        octets = mail.wait_until(lambda sent=sent: stored(program, sent), 60)
        # An empty body may get a line end from who stores it.
        assert as_sent(octets).rstrip(b"\r\n") == sent.octets.rstrip(b"\r\n"), name
    lab.wait_gone(*messages)


def test_the_connection_is_encrypted_where_the_other_can(lab, server):
    program, domain = server
    sent = lab.send(f"box@{domain}")
    octets = mail.wait_until(lambda: stored(program, sent))
    head = octets[:octets.index(b"From: ")]
    is_encrypted = b"ESMTPS" in head or b"esmtps" in head or b"TLSv1.3" in head
    assert is_encrypted == (program.kind != "opensmtpd"), head


def test_a_recipient_that_is_refused_there_comes_back(lab, server):
    program, domain = server
    if program.kind != "exim":
        sent = lab.send(f"box@{domain}", f"nobody@sub.{domain}")
        lab.dns.add(f"sub.{domain}. MX 10 mx1.{domain}.")
        lab.dns.publish()
        report = lab.wait_for_report(sent)
        fields = report.recipient(f"nobody@sub.{domain}")
        assert fields["Action"] == "failed"
        assert fields["Status"].startswith("5.")
        assert mail.wait_until(lambda: stored(program, sent))


def test_dsn_is_passed_on_to_postfix(lab):
    """RFC 3461: Postfix, asked for it, tells the sender itself that it has delivered the mail."""
    host = lab.address()
    domain = lab.domain(host)
    server = peers.Postfix(host=host, port=lab.port, domain=domain,
                           routes={"demo.test": lab.server.port("smtp")})
    try:
        sent = lab.send(f"box@{domain}", mail_args="RET=HDRS ENVID=QQ314159",
                        rcpt_args="NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2BBox@elsewhere.test")
        report = lab.wait_for_report(sent)
        assert report.about["Original-Envelope-Id"] == "QQ314159"
        assert "postfix" in report.about["Reporting-MTA"]
        fields = report.recipients[0]
        assert fields["Action"] == "delivered"
        assert fields["Original-Recipient"].replace(" ", "") == "rfc822;b+Box@elsewhere.test"
    finally:
        server.close()


def test_one_postern_sends_to_another(lab):
    host = lab.address()
    domain = lab.domain(host)
    with served.Served(extra=f"listen mx {host}:{lab.port}\n") as other:
        other.run("domain", "add", domain)
        other.run("account", "add", f"bob@{domain}", "--password-file", "-", given="pass of bob\n")
        messages = [lab.send(f"bob@{domain}", body=body) for body in BODIES.values()]
        other.users[f"bob@{domain}"] = "pass of bob"
        conn = mail.imaplib.IMAP4_SSL(postern.HOST, other.port("imaps"),
                                      ssl_context=postern.tls_context())
        conn.login(f"bob@{domain}", "pass of bob")
        for sent in messages:
            uids = mail.wait_until(lambda sent=sent: mail.find(conn, sent.id))
            assert len(uids) == 1
            got = mail.fetch(conn, uids[0])
            assert as_sent(got) == sent.octets
            assert b"with ESMTPS" in got[:got.index(b"From: ")]
        conn.logout()
        lab.wait_gone(*messages)


def test_a_smarthost_with_a_login(lab):
    server = peers.Exim(host=lab.smarthost, port=lab.port, auth=("relay", SECRET),
                        certificate=lab.authority.issue("smarthost.test"))
    try:
        with smtplib.SMTP(server.host, server.port) as stranger:  # it does want a login
            with pytest.raises(smtplib.SMTPSenderRefused):
                stranger.sendmail("a@b.test", ["c@d.smart.test"], "Subject: x\n\nx")
        sent = lab.send("anybody@any.smart.test")
        octets = mail.wait_until(lambda: stored(server, sent))
        assert as_sent(octets) == sent.octets
        assert "A=plain:relay" in server.log()
        lab.wait_gone(sent)
    finally:
        server.close()


def test_another_postern_as_a_smarthost_by_scram(lab):
    with served.Served(extra=f"listen submission {lab.second}:{lab.port}\noutbound {{\n"
                             "    refuse-addresses none\n    recipients-per-day 0\n}\n"
                             f"route out {{\n    domains *\n    to {postern.HOST}:1\n}}\n") as other:
        other.run("domain", "add", "second.test")
        other.run("account", "add", "carol@second.test", "--password-file", "-",
                  given=f"{SECRET}\n")
        sent = lab.send("anybody@any.scram.test", sender="carol@second.test")
        lab.wait_gone(sent)
        logins = other.wait_for_event("login")
        assert any("SCRAM-SHA-256" in event.get("mechanism", "") for event in logins), logins
