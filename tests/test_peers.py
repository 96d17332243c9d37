"""Other mail servers deliver to the real program on its port for incoming mail."""

import smtplib

import pytest

import mail
import peers


@pytest.fixture(scope="module")
def postfix(demo):
    server = peers.Postfix(routes={"demo.test": demo.port("smtp")})
    yield server
    server.close()


@pytest.fixture(scope="module")
def exim(demo):
    server = peers.Exim({"demo.test": demo.port("smtp")})
    yield server
    server.close()


def bodies():
    yield "plain", "Hello.\r\n"
    yield "dots", ".\r\n..\r\n.x\r\n"
    yield "eight bit", "Grüße, 你好\r\n" * 50
    yield "long", ("x" * 900 + "\r\n") * 3000


def deliver_through(demo, server):
    sent = [mail.message("alice@demo.test", body=body, subject=name) for name, body in bodies()]
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        for m in sent:
            client.send_message(m)
    conn = mail.imap(demo)
    for m in sent:
        uids = mail.wait_until(lambda m=m: mail.find(conn, m["Message-ID"]), 60)
        assert len(uids) == 1
        got = mail.fetch(conn, uids[0])
        want = m.as_bytes().replace(b"\r\n", b"\n").split(b"\n\n", 1)[1].replace(b"\n", b"\r\n")
        assert got.split(b"\r\n\r\n", 1)[1] == want
        assert got.startswith(b"Return-Path: <someone@elsewhere.test>\r\n")


def test_postfix_delivers(demo, postfix):
    deliver_through(demo, postfix)


def test_exim_delivers(demo, exim):
    deliver_through(demo, exim)
