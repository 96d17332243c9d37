"""What senders are told (RFC 3461, 3464, 6533), and what is changed for servers that know less."""

import email
import email.policy
import os
import signal

import pytest

import mail
import peer
import processes
import relay

PLAIN = ("PIPELINING", "SIZE 52428800", "ENHANCEDSTATUSCODES")
REFUSAL = "550-5.1.1 There is nobody of that name.\r\n550 5.1.1 See https://peer.test/why"


@pytest.fixture(scope="module")
def lab():
    with relay.Lab(outbound={"delay-notice": "2s", "lifetime": "8s"}) as lab:
        yield lab


def refusing(lab, **options):
    return lab.peer(script={"rcpt": lambda session, argument: REFUSAL
                            if "nobody" in argument else None}, **options)


def test_a_bounce_has_the_remote_words_and_the_header(lab):
    with refusing(lab) as host:
        domain = lab.domain(host)
        sent = lab.send(f"nobody@{domain}", f"bob@{domain}", body=b"the body's own words\r\n")
        report = lab.wait_for_report(sent)
        assert report.message["Return-Path"].strip() == "<>"
        assert report.message["Auto-Submitted"].startswith("auto-replied") or \
            report.message["Auto-Submitted"].startswith("auto-generated")
        assert report.message["To"] and "alice@demo.test" in report.message["To"]
        assert [r["Final-Recipient"] for r in report.recipients] == [f"rfc822; nobody@{domain}"] or \
            len(report.recipients) == 1
        fields = report.recipient(f"nobody@{domain}")
        assert fields["Action"] == "failed" and fields["Status"] == "5.1.1"
        assert "nobody of that name" in fields["Diagnostic-Code"]
        assert "nobody of that name" in report.words and f"nobody@{domain}" in report.words
        assert sent.id in report.original.as_string()
        assert "the body's own words" not in report.message.as_string()
        host.wait_for_messages(1)


def test_ret_full_has_the_whole_message(lab):
    with refusing(lab) as host:
        sent = lab.send(f"nobody@{lab.domain(host)}", body=b"the body's own words\r\n",
                        mail_args="RET=FULL ENVID=e+2Bx")
        report = lab.wait_for_report(sent)
        assert "the body's own words" in report.message.as_string()
        assert report.about["Original-Envelope-Id"] == "e+x"


@pytest.mark.parametrize("octets", [b"\xc3\xa9ight bits\r\n", b"seven bits.\r\n"])
def test_ret_full_has_the_whole_of_a_large_message(lab, octets):
    """Of several MiB, octet for octet; a report that another server would take, too."""
    body = octets * (3_000_000 // len(octets))
    with refusing(lab) as host:
        sent = lab.send(f"nobody@{lab.domain(host)}", body=body, mail_args="RET=FULL")
        report = lab.wait_for_report(sent)
        assert report.original.get_content_type() == "message/rfc822"
        is_8bit = octets[0] > 127
        assert (report.original["Content-Transfer-Encoding"] == "8bit") == is_8bit
        assert sent.octets.rstrip() in report.message.as_bytes().replace(b"\r\n", b"\n").replace(
            b"\n", b"\r\n")
        assert report.recipients[0]["Action"] == "failed"


def test_ret_full_of_a_large_message_to_a_sender_elsewhere(lab):
    body = b"The body's own words.\r\n" * 100_000
    with refusing(lab) as host, lab.peer() as home:
        sender = f"sue@{lab.domain(home)}"
        sent = lab.send(f"nobody@{lab.domain(host)}", sender=sender, body=body,
                        mail_args="RET=FULL")
        home.wait_for_messages(1)
        assert sent.octets.rstrip() in home.messages[0].octets
        assert home.messages[0].recipients == [sender]


def test_never_is_never(lab):
    with refusing(lab) as host:
        domain = lab.domain(host)
        sent = lab.send(f"nobody@{domain}", rcpt_args="NOTIFY=NEVER")
        lab.wait_gone(sent)
        assert not lab.reports(sent)


def test_no_bounce_for_a_bounce(lab):
    with refusing(lab) as host:
        domain = lab.domain(host)
        sent = lab.send(f"nobody@{domain}", sender="")
        lab.wait_gone(sent)
        assert not lab.waiting()
        assert not host.messages


def test_success_is_told_where_the_next_server_will_not(lab):
    """RFC 3461 §6.2.4: relayed to a server without DSN: the sender hears so from us."""
    with lab.peer(extensions=PLAIN) as host:
        domain = lab.domain(host)
        sent = lab.send(f"bob@{domain}", rcpt_args="NOTIFY=SUCCESS")
        fields = lab.wait_for_report(sent).recipient(f"bob@{domain}")
        assert fields["Action"] == "relayed"
        assert "NOTIFY" not in host.messages[0].rcpt_lines[0]


def test_a_delivery_does_not_wait_for_its_report(lab):
    """Nobody can say where the report goes (the mailroom is stopped), and the courier is killed: the
    message is not sent again, and the report comes when it can."""
    with lab.peer(extensions=PLAIN) as host:
        domain = lab.domain(host)
        mailroom = processes.roles(lab.server)["mailroom"]
        relayed = lambda: [step for step, _ in lab.trace(sent)].count("relayed")
        with relay.wire.Smtp(lab.server.address("smtp")) as client:
            client.greet()
            octets, message_id = relay.wire.message(b"Once.\r\n")
            sent = relay.Sent(octets, message_id, [f"bob@{domain}"], relay.SENDER)
            client.command(f"MAIL FROM:<{relay.SENDER}>")
            client.command(f"RCPT TO:<bob@{domain}> NOTIFY=SUCCESS")
            client.command("DATA")
            os.kill(mailroom, signal.SIGSTOP)
            try:
                client.send(relay.wire.stuffed(octets))
                assert client.reply().startswith("250")
                mail.wait_until(relayed)
                courier = processes.roles(lab.server)["courier"]
                os.kill(courier, signal.SIGKILL)
                processes.wait_for_role(lab.server, "courier", other_than=courier)
            finally:
                os.kill(mailroom, signal.SIGCONT)
        assert lab.wait_for_report(sent).recipient(f"bob@{domain}")["Action"] == "relayed"
        assert len(host.messages) == 1 and relayed() == 1


def test_dsn_is_handed_on(lab):
    with lab.peer() as host:
        sent = lab.send(f"bob@{lab.domain(host)}", mail_args="RET=HDRS ENVID=abc",
                        rcpt_args="NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old@elsewhere.test")
        lab.wait_gone(sent)
        message = host.messages[0]
        assert "RET=HDRS" in message.mail and "ENVID=abc" in message.mail
        assert "NOTIFY=SUCCESS,DELAY" in message.rcpt_lines[0]
        assert "ORCPT=rfc822;old@elsewhere.test" in message.rcpt_lines[0]
        assert not lab.reports(sent)


def test_success_of_a_local_delivery_is_told(lab):
    sent = lab.send("bob@demo.test", rcpt_args="NOTIFY=SUCCESS")
    assert lab.wait_for_report(sent).recipient("bob@demo.test")["Action"] == "delivered"


def test_late_mail_is_told_of_and_comes_back_in_the_end(lab):
    with lab.peer(script={"rcpt": "450 4.2.2 The mailbox is full"}) as host:
        domain = lab.domain(host)
        sent = lab.send(f"bob@{domain}", rcpt_args="NOTIFY=DELAY,FAILURE")
        delayed = lab.wait_for_report(sent).recipient(f"bob@{domain}")
        assert delayed["Action"] == "delayed" and "Will-Retry-Until" in delayed
        assert "mailbox is full" in delayed["Diagnostic-Code"]
        mail.wait_until(lambda: len(lab.reports(sent)) >= 2, 30)
        actions = {relay.Report(r).recipients[0]["Action"] for r in lab.reports(sent)}
        assert actions == {"delayed", "failed"}
        last = [relay.Report(r) for r in lab.reports(sent)][-1].recipients[0]
        assert last["Status"] in ("4.2.2", "5.4.7", "4.4.7")
        lab.wait_gone(sent)


def test_a_delay_that_nobody_asked_to_hear_of_is_not_told(lab):
    with lab.peer(script={"rcpt": "450 4.2.2 The mailbox is full"}) as host:
        sent = lab.send(f"bob@{lab.domain(host)}", rcpt_args="NOTIFY=FAILURE")
        report = lab.wait_for_report(sent)
        assert report.recipients[0]["Action"] == "failed"
        assert len(lab.reports(sent)) == 1


# ---- Servers that know less ------------------------------------------------------------------------


def multipart():
    m = email.message.EmailMessage(policy=email.policy.SMTP)
    m["From"] = "someone@elsewhere.test"
    m["Subject"] = "parts"
    m["Message-ID"] = f"<{relay.wire.uuid.uuid4()}@elsewhere.test>"
    m["Date"] = "Thu, 01 Jan 2026 12:00:00 +0000"
    m.set_content("Grüße, 你好, .\n.\n" * 20, cte="8bit")
    m.add_attachment("naïve\n".encode(), maintype="text", subtype="x-odd", cte="base64")
    m.add_attachment(bytes(range(1, 128)), maintype="application", subtype="octet-stream")
    return m


def test_eight_bit_is_converted_where_it_must_be(lab):
    """RFC 6152 §3: to a server without 8BITMIME the same text in seven bits."""
    before = multipart()
    with lab.peer(extensions=PLAIN) as host:
        sent = lab.send(f"bob@{lab.domain(host)}", octets=before.as_bytes(),
                        mail_args="BODY=8BITMIME")
        lab.wait_gone(sent)
        message = host.messages[0]
        assert message.octets.isascii() and "BODY" not in message.mail
        after = email.message_from_bytes(message.octets, policy=email.policy.default)
        texts = [[part.get_content() for part in m.walk() if not part.is_multipart()]
                 for m in (email.message_from_bytes(before.as_bytes(),
                                                    policy=email.policy.default), after)]
        assert texts[0] == texts[1]


def test_eight_bit_is_left_alone_where_it_can_be(lab):
    before = multipart()
    with lab.peer() as host:
        sent = lab.send(f"bob@{lab.domain(host)}", octets=before.as_bytes(),
                        mail_args="BODY=8BITMIME")
        lab.wait_gone(sent)
        assert host.messages[0].octets.endswith(before.as_bytes())
        assert "BODY=8BITMIME" in host.messages[0].mail


def test_smtputf8_bounces_where_it_is_not_known(lab):
    octets, _ = relay.wire.message()
    octets = octets.replace(b"Subject: a test", "Subject: Grüße".encode())
    with lab.peer(extensions=PLAIN) as host:
        domain = lab.domain(host)
        sent = lab.send(f"jürgen@{domain}", octets=octets, mail_args="SMTPUTF8")
        fields = lab.wait_for_report(sent).recipients[0]
        assert fields["Status"] == "5.6.7"
        assert "jürgen" in fields["Final-Recipient"] or "\\x{FC}" in fields["Final-Recipient"]
        assert not host.messages


def test_smtputf8_arrives_where_it_is_known(lab):
    octets, _ = relay.wire.message()
    octets = octets.replace(b"Subject: a test", "Subject: Grüße".encode())
    with lab.peer() as host:
        domain = lab.domain(host)
        lab.wait_gone(lab.send(f"jürgen@{domain}", octets=octets, mail_args="SMTPUTF8"))
        assert host.messages[0].recipients == [f"jürgen@{domain}"]
        assert "SMTPUTF8" in host.messages[0].mail
        assert host.messages[0].octets.endswith(octets)


def test_deliver_by_with_return_comes_back_in_time(lab):
    """RFC 2852 mode R: what cannot be there in time is returned."""
    with lab.peer(script={"rcpt": "450 4.2.2 The mailbox is full"},
                  extensions=(*peer.EXTENSIONS, "DELIVERBY")) as host:
        sent = lab.send(f"bob@{lab.domain(host)}", mail_args="BY=2;R")
        fields = lab.wait_for_report(sent, seconds=7).recipients[0]
        assert fields["Action"] == "failed" and fields["Status"] == "5.4.7"


def test_deliver_by_with_return_comes_back_from_who_does_not_know_it(lab):
    """RFC 2852 §4.1.3: such a server could keep it for days."""
    with lab.peer() as host:
        sent = lab.send(f"bob@{lab.domain(host)}", mail_args="BY=600;R")
        assert lab.wait_for_report(sent).recipients[0]["Status"] == "5.3.3"
        assert not host.messages


# ---- Who may not ----------------------------------------------------------------------------------


def test_no_open_relay():
    """Without relay-from, port 25 takes nothing for elsewhere, whatever it is called."""
    with relay.served.Served(limits="tarpit 0s\nerrors 100",
                             extra="outbound {\n    lifetime 1d\n}\n") as server, \
            relay.wire.Smtp(server.address("smtp")) as client:
        client.greet()
        for sender in ("someone@elsewhere.test", "alice@demo.test", ""):
            assert client.command(f"MAIL FROM:<{sender}>").startswith("250")
            for recipient in ("bob@elsewhere.test", "bob@[127.0.0.1]", "bob%elsewhere.test@demo.test",
                              '"bob@elsewhere.test"@demo.test', "@demo.test:bob@elsewhere.test",
                              "elsewhere.test!bob@demo.test"):
                reply = client.command(f"RCPT TO:<{recipient}>")
                assert reply.startswith("5"), (sender, recipient, reply)
            assert client.command("RSET").startswith("250")


def test_unknown_recipients_of_ours_are_refused_at_once(lab):
    """No backscatter: what can be refused in the session is."""
    with relay.wire.Smtp(lab.server.address("smtp")) as client:
        client.greet()
        assert client.begin(["nobody-here@demo.test"]).startswith("550")
