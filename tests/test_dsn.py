"""Reports as mail programs meet them: fetched by IMAP, taken apart by Python's own parser, and from
servers that would like to write into them. What is told when is in test_relay_reports.py.
"""

import email
import email.policy
import re
import urllib.request

import pytest

import mail
import postern
import relay
import served

PLAIN = ("PIPELINING", "SIZE 52428800", "ENHANCEDSTATUSCODES")
HOSTILE = (b"550-5.1.1 one\x01\x1b[2J\r\n550-5.1.1 \xff\xfe\xc3\x28\r\n550-5.1.1 --=_\r\n"
           b"550 5.1.1 Action: delivered; X-Injected: yes " + b"w" * 300 + b"\r\n")


def inner(lab):
    """A mail store of somebody else's, reached by LMTP."""
    lab.inner = lab.address()
    return (f"route inner {{\n    domains inner.test\n    to {lab.inner}:{lab.port}\n"
            "    protocol lmtp\n    tls no\n}\n")


@pytest.fixture(scope="module")
def lab():
    with relay.Lab(extra=inner) as lab:
        yield lab


def refusing(lab, reply="550 5.1.1 Nobody here", **options):
    return lab.peer(script={"rcpt": lambda session, argument: reply
                            if "nobody" in argument else None}, **options)


def test_a_person_who_submits_gets_a_report_without_a_defect(lab):
    with refusing(lab) as host:
        domain = lab.domain(host)
        sent, reply = lab.submit(f"nobody@{domain}", mail_args="ENVID=a+3Db RET=HDRS",
                                 rcpt_args="NOTIFY=FAILURE ORCPT=rfc822;old+2Bname@elsewhere.test")
        assert reply.startswith("250"), reply
        report = lab.wait_for_report(sent).message
        assert not [part.defects for part in report.walk() if part.defects]
        assert report["From"].addresses[0].username == "postmaster"
        assert report["To"].addresses[0].addr_spec == sent.sender
        assert report["In-Reply-To"].strip() == sent.id == report["References"].strip()
        assert report["Delivered-To"] == sent.sender and report["Date"].datetime
        assert report.get_param("report-type") == "delivery-status"
        about, fields = relay.blocks(list(report.iter_parts())[1])
        assert about["Original-Envelope-Id"] == "a=b"
        assert about["Reporting-MTA"] == "dns; mx.demo.test"
        assert fields["Original-Recipient"] == "rfc822;old+name@elsewhere.test"
        assert fields["Final-Recipient"] == f"rfc822; nobody@{domain}"
        assert fields["Remote-MTA"] == f"dns; mx1.{domain}"
        assert fields["Diagnostic-Code"] == "smtp; 550 5.1.1 Nobody here"


def test_imap_shows_its_parts(lab):
    with refusing(lab) as host:
        sent = lab.send(f"nobody@{lab.domain(host)}")
        lab.wait_for_report(sent)
        conn = mail.imap(lab.server, "alice")
        conn.select("INBOX", readonly=True)
        _, found = conn.uid("SEARCH", "HEADER", "In-Reply-To", sent.id)
        _, data = conn.uid("FETCH", found[0].split()[-1], "(BODYSTRUCTURE)")
        for words in (b'"DELIVERY-STATUS"', b'"RFC822-HEADERS"', b'"REPORT"'):
            assert words in data[0].upper()
        conn.logout()


def test_hostile_words_stay_in_their_field(lab):
    with refusing(lab, HOSTILE) as host:
        domain = lab.domain(host)
        sent = lab.send(f"nobody@{domain}")
        report = lab.wait_for_report(sent).message
        octets = report.as_bytes()
        assert b"\nX-Injected" not in octets and b"\x1b" not in octets
        assert max(map(len, octets.split(b"\n"))) < 1000
        fields = relay.Report(report).recipients[0]
        assert fields["Action"] == "failed" and "X-Injected: yes" in fields["Diagnostic-Code"]
        assert len(list(report.iter_parts())) == 3


def test_the_whole_message_of_eight_bits_comes_back_as_it_was(lab):
    octets, _ = relay.wire.message("Grüße\r\n".encode())
    octets = octets.replace(b"Subject:", b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8"
                            b"\r\nContent-Transfer-Encoding: 8bit\r\nSubject:", 1)
    with refusing(lab) as host:
        sent = lab.send(f"nobody@{lab.domain(host)}", octets=octets,
                        mail_args="BODY=8BITMIME RET=FULL")
        report = lab.wait_for_report(sent)
        original = report.original.get_payload()[0]
        assert report.original.get_content_type() == "message/rfc822"
        assert original.get_content().rstrip() == "Grüße"


def test_a_report_for_a_sender_elsewhere_is_made_fit_for_its_server(lab):
    """It leaves by the same way as all mail: null sender, and converted where it must be."""
    octets, _ = relay.wire.message("Grüße\r\n".encode())
    octets = octets.replace(b"Subject:", b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8"
                            b"\r\nContent-Transfer-Encoding: 8bit\r\nSubject:", 1)
    with refusing(lab) as host, lab.peer(extensions=PLAIN) as home:
        sender = f"cyd@{lab.domain(home)}"
        lab.send(f"nobody@{lab.domain(host)}", sender=sender, octets=octets,
                 mail_args="BODY=8BITMIME RET=FULL")
        home.wait_for_messages(1)
        message = home.messages[0]
        assert message.mail.startswith("FROM:<>") and message.recipients == [sender]
        assert message.octets.isascii()
        report = email.message_from_bytes(message.octets, policy=email.policy.default)
        assert not [part.defects for part in report.walk() if part.defects]
        original = list(report.iter_parts())[2].get_payload()[0]
        assert original.get_content().rstrip() == "Grüße"


def test_a_report_that_cannot_be_delivered_ends_there(lab):
    with refusing(lab) as host:
        domain = lab.domain(host)
        sent = lab.send(f"nobody@{domain}", sender=f"nobody-either@{domain}")
        lab.wait_gone(sent)
        mail.wait_until(lambda: not [row for row in lab.waiting() if domain in row.recipient])
        assert not any(message.recipients for message in host.messages)
        assert [step for step, _ in lab.trace(sent) if step == "report"]


def test_nobody_is_told_where_the_sender_is_not_known_here(lab):
    with refusing(lab) as host:
        sent = lab.send(f"nobody@{lab.domain(host)}", sender=f"forged@{postern.DOMAIN}")
        lab.wait_gone(sent)
        assert "bounce-dropped" in str(lab.trace(sent))
        assert not lab.reports(sent)
        warned = lab.server.wait_for_event("sender-not-told")[-1]
        assert warned["level"] == "warn" and warned["sender"] == sent.sender
        with urllib.request.urlopen(
                f"http://{postern.HOST}:{lab.server.base + served.METRICS}/metrics") as page:
            assert re.search(rb"^postern_courier_reports_dropped_total [1-9]", page.read(), re.M)


def test_other_letters_have_types_of_their_own(lab):
    octets, _ = relay.wire.message()
    octets = octets.replace(b"Subject: a test", "Subject: Grüße".encode())
    with refusing(lab) as host:
        domain = lab.domain(host)
        sent = lab.send(f"nobody-jürgen@{domain}", octets=octets, mail_args="SMTPUTF8")
        report = lab.wait_for_report(sent).message
        parts = [part.get_content_type() for part in report.iter_parts()]
        assert parts == ["text/plain", "message/global-delivery-status", "message/global-headers"]
        fields = relay.Report(report).recipients[0]
        assert fields["Final-Recipient"] == f"utf-8; nobody-jürgen@{domain}"
        assert "Subject: Grüße".encode() in report.as_bytes()
        assert "Grüße" in list(report.iter_parts())[0].get_content()


def test_a_thousand_long_refusals_are_told_together(lab):
    """However much the other server had to say about each: one commit ends hundreds of them, and on
    a machine that is not slow all."""
    names = [f"nobody{n}" for n in range(1000)]

    def refuse(session, argument):
        return f"550 5.1.1 {relay.wire.text(960).decode().replace(chr(13) + chr(10), '')[:960]}"

    with lab.peer(script={"rcpt": refuse}) as host:
        domain = lab.domain(host)
        sent = lab.send(*(f"{name}@{domain}" for name in names))
        lab.wait_gone(sent)
        reports = [relay.Report(found) for found in lab.reports(sent)]
        told = [fields for report in reports for fields in report.recipients]
        assert len(reports) <= 4
        assert sorted(fields["Final-Recipient"] for fields in told) == sorted(
            f"rfc822; {name}@{domain}" for name in names)
        assert {fields["Status"] for fields in told} == {"5.1.1"}


def test_what_an_lmtp_server_took_is_delivered(lab):
    """RFC 3461 §5.2.3: behind LMTP there is no further way."""
    with lab.peer(host=lab.inner, is_lmtp=True, extensions=PLAIN) as host:
        sent = lab.send("bob@inner.test", rcpt_args="NOTIFY=SUCCESS")
        fields = lab.wait_for_report(sent).recipient("bob@inner.test")
        assert fields["Action"] == "delivered" and fields["Status"].startswith("2.")
        assert host.messages[0].recipients == ["bob@inner.test"]


def test_one_of_several_fails_and_is_told_of_alone(lab):
    with refusing(lab) as host:
        domain = lab.domain(host)
        sent = lab.send(f"bob@{domain}", f"nobody@{domain}", f"cyd@{domain}")
        report = lab.wait_for_report(sent)
        assert [fields["Final-Recipient"] for fields in report.recipients] == \
            [f"rfc822; nobody@{domain}"]
        host.wait_for_messages(1)
        assert host.messages[0].recipients == [f"bob@{domain}", f"cyd@{domain}"]


def hand_in_binary(lab, octets, recipient):
    """By BDAT, as only that takes binary mail (RFC 3030 §3)."""
    with relay.wire.Smtp(lab.server.address("smtp")) as client:
        client.greet()
        assert client.command("MAIL FROM:<alice@demo.test> BODY=BINARYMIME").startswith("250")
        assert client.command(f"RCPT TO:<{recipient}>").startswith("250")
        client.send(f"BDAT {len(octets)} LAST\r\n".encode() + octets)
        assert client.reply().startswith("250")
    return relay.Sent(octets, email.message_from_bytes(octets)["Message-ID"], [recipient],
                      "alice@demo.test")


@pytest.mark.parametrize("extensions", [PLAIN, (*PLAIN, "8BITMIME"),
                                        (*PLAIN, "8BITMIME", "CHUNKING")])
def test_binary_is_converted_where_it_must_be(lab, extensions):
    content = bytes(range(256)) * 400 + b"\r\n\r\r\n\n\0"
    octets, _ = relay.wire.message(content)
    octets = octets.replace(b"Subject:", b"MIME-Version: 1.0\r\nContent-Type: image/x\r\n"
                            b"Content-Transfer-Encoding: binary\r\nSubject:", 1)
    with lab.peer(extensions=extensions) as host:
        sent = hand_in_binary(lab, octets, f"bob@{lab.domain(host)}")
        lab.wait_gone(sent)
        after = email.message_from_bytes(host.messages[0].octets, policy=email.policy.default)
        assert after["Content-Transfer-Encoding"] == "base64"
        assert after.get_payload(decode=True) == content


def test_binary_that_cannot_be_converted_comes_back(lab):
    octets, _ = relay.wire.message(b"no NUL \0 here\r\n--b\r\n\r\nHello.\r\n--b--\r\n")
    octets = octets.replace(b"Subject:", b"MIME-Version: 1.0\r\n"
                            b"Content-Type: multipart/mixed; boundary=b\r\nSubject:", 1)
    with lab.peer(extensions=PLAIN) as host:
        sent = hand_in_binary(lab, octets, f"bob@{lab.domain(host)}")
        assert lab.wait_for_report(sent).recipients[0]["Status"] == "5.6.3"
        lab.wait_gone(sent)
        assert not host.messages
