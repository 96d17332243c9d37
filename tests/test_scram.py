"""Logging in without telling the password, and bound to the TLS channel."""

import base64
import imaplib
import poplib
import re
import shutil
import subprocess

import pytest

import postern
import scram
from test_clients import certificate

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


def gsasl(demo, protocol, *words):
    port = demo.port("imap" if protocol == "imap" else "submission")
    done = subprocess.run(
        ["gsasl", f"--{protocol}", f"--connect={postern.HOST}:{port}", "--x509-ca-file=",
         f"--authentication-id={USER}", f"--password={demo.users['bob']}", "--verbose", *words],
        input=b"", capture_output=True, timeout=30)
    assert b"TLS1.3" in done.stderr, done
    return done


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
@pytest.mark.parametrize("words, mechanism", [
    ([], "SCRAM-SHA-256-PLUS"),  # of all that is offered, and tls-exporter over TLS 1.3 (RFC 9266)
    (["--mechanism=SCRAM-SHA-256-PLUS"], "SCRAM-SHA-256-PLUS"),
    (["--mechanism=SCRAM-SHA-256", "--no-cb"], "SCRAM-SHA-256"),
])
def test_gsasl(demo, protocol, words, mechanism):
    done = gsasl(demo, protocol, *words)
    said = done.stdout.decode(errors="replace")
    command = "AUTHENTICATE" if protocol == "imap" else "AUTH"
    assert re.search(rf"^(\. )?{command} {mechanism}\r?$", said, re.M), done
    assert re.search(r"^(\. OK \[CAPABILITY .*Logged in|235 )", said, re.M), done
    assert b"server trusted" in done.stderr


def test_gsasl_does_not_say_that_the_server_cannot_bind(demo):
    """Told to use SCRAM-SHA-256 where it has a binding, it would have to send "y", which a server
    that offers PLUS refuses (RFC 5802 §6; test_refused). gsasl 2.2.0 gives up without a word."""
    done = gsasl(demo, "imap", "--mechanism=SCRAM-SHA-256")
    assert done.returncode == 1
    assert done.stdout.rstrip().endswith(b". AUTHENTICATE SCRAM-SHA-256\n+"), done


def logins(demo, mechanism):
    return len(re.findall(rf"role=keeper event=login .*mechanism={mechanism} ", demo.log()))


def test_msmtp_without_the_password(demo):
    before = logins(demo, "SCRAM-SHA-256")
    subprocess.run(
        ["msmtp", "--host=127.0.0.1", f"--port={demo.port('submission')}", "--tls=on",
         "--tls-certcheck=off", "--auth=scram-sha-256", f"--user={USER}",
         f"--passwordeval=echo {demo.users['bob']}", f"--from={USER}", "alice@demo.test"],
        input=b"From: bob@demo.test\n\nHello\n", check=True, timeout=60)
    assert logins(demo, "SCRAM-SHA-256") == before + 1


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
def test_mutt_without_the_password(demo, tmp_path, mechanism):
    """Its libgsasl is the one that binds; over TLS 1.3 mutt gives it nothing to bind to."""
    before = logins(demo, "SCRAM-SHA-256")
    (tmp_path / "muttrc").write_text(f"""
set imap_user="{USER}" imap_pass="{demo.users['bob']}" ssl_verify_host=no wait_key=no
set ssl_verify_dates=no certificate_file={tmp_path}/certs ssl_force_tls=yes header_cache=""
set imap_authenticators="{mechanism.lower()}:scram-sha-256"
set folder="imaps://127.0.0.1:{demo.port('imaps')}/" spoolfile="+INBOX"
""")
    shutil.copy(certificate(demo), tmp_path / "certs")
    subprocess.run(
        ["script", "-qec", f"mutt -F {tmp_path}/muttrc -n -e 'push <exit>' -f +INBOX", "/dev/null"],
        env={"TERM": "xterm", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=60)
    assert logins(demo, "SCRAM-SHA-256") == before + 1


def test_mbsync_without_the_password(demo, tmp_path):
    """By Cyrus SASL."""
    before = logins(demo, "SCRAM-SHA-256")
    (tmp_path / "rc").write_text(f"""
IMAPStore remote
Host 127.0.0.1
Port {demo.port('imaps')}
User {USER}
Pass {demo.users['bob']}
SSLType IMAPS
AuthMechs SCRAM-SHA-256
CertificateFile {certificate(demo)}

MaildirStore local
Path {tmp_path}/
Inbox {tmp_path}/INBOX

Channel only
Far :remote:
Near :local:
Patterns *
""")
    subprocess.run(["mbsync", "-c", tmp_path / "rc", "-l", "only"], check=True,
                   env={"HOME": str(tmp_path), "PATH": "/usr/bin"}, timeout=60)
    assert logins(demo, "SCRAM-SHA-256") == before + 1
