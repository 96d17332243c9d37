"""Logging in without telling the password, and bound to the TLS channel."""

import base64
import imaplib
import poplib
import subprocess

import pytest

import postern
import scram

USER = "bob@demo.test"
END_POINT = b"p=tls-server-end-point,,"


def imap(demo, tls):
    if tls:
        return imaplib.IMAP4_SSL(postern.HOST, demo.port("imaps"),
                                 ssl_context=postern.tls_context())
    return imaplib.IMAP4(postern.HOST, demo.port("imap"))


def test_imap(demo):
    conn = imap(demo, tls=False)
    client = scram.Client(USER, demo.users["bob"])
    assert conn.authenticate("SCRAM-SHA-256", client)[0] == "OK"
    assert client.is_verified
    conn.logout()


def test_imap_bound_to_the_certificate(demo):
    conn = imap(demo, tls=True)
    client = scram.Client(USER, demo.users["bob"], END_POINT, scram.end_point(conn.socket()))
    assert conn.authenticate("SCRAM-SHA-256-PLUS", client)[0] == "OK"
    assert client.is_verified
    conn.logout()


def test_pop3(demo):
    conn = poplib.POP3(postern.HOST, demo.port("pop3"))
    client = scram.Client(USER, demo.users["bob"])
    said = conn._shortcmd("AUTH SCRAM-SHA-256")
    while said.startswith(b"+ "):
        answer = client(base64.b64decode(said[2:]))
        said = conn._shortcmd(base64.b64encode(answer).decode())
    assert said.startswith(b"+OK") and client.is_verified
    conn.quit()


@pytest.mark.parametrize("password, header, binding, why", [
    ("wrong", END_POINT, None, "AUTHENTICATIONFAILED"),
    ("builder", END_POINT, b"x" * 32, "AUTHENTICATIONFAILED|BAD"),
    # RFC 5802 §6: a client that could bind, and was told that the server could not.
    ("builder", b"y,,", b"", "AUTHENTICATIONFAILED|BAD"),
    ("builder", b"p=no-such-binding,,", b"", "AUTHENTICATIONFAILED|BAD"),
], ids=["password", "other certificate", "downgrade", "unknown binding"])
def test_refused(demo, password, header, binding, why):
    conn = imap(demo, tls=True)
    binding = scram.end_point(conn.socket()) if binding is None else binding
    mechanism = "SCRAM-SHA-256-PLUS" if header.startswith(b"p") else "SCRAM-SHA-256"
    client = scram.Client(USER, password, header, binding)
    with pytest.raises(imaplib.IMAP4.error, match=why):
        conn.authenticate(mechanism, client)
    assert not client.is_verified
    conn.logout()


def test_gsasl_binds_to_the_channel(demo):
    """tls-exporter over TLS 1.3 (RFC 9266)."""
    done = subprocess.run(
        ["gsasl", "--imap", f"--connect={postern.HOST}:{demo.port('imap')}", "--x509-ca-file=",
         "--mechanism=SCRAM-SHA-256-PLUS", f"--authentication-id={USER}",
         f"--password={demo.users['bob']}", "--verbose"],
        input=b"", capture_output=True, timeout=30)
    assert b"TLS1.3" in done.stderr
    assert b". OK [CAPABILITY" in done.stdout and b"Logged in" in done.stdout, done
