"""Real clients against the real program."""

import hashlib
import imaplib
import poplib
import re
import shutil
import ssl
import subprocess
import uuid

import pytest

import mail
import postern


def run(*command, **options):
    """Runs a client; its output on failure is the test's message."""
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=120,
                          **options)
    assert done.returncode == 0, (done.args, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


def subject():
    return f"subject-{uuid.uuid4()}"


def subjects(conn, mailbox="INBOX"):
    conn.select(f'"{mailbox}"', readonly=True)
    _, data = conn.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [line for part in data if isinstance(part, tuple)
            for line in re.findall(rb"Subject: ([^\r]*)", part[1])]


@pytest.mark.parametrize("options", [
    ["--port", "smtp"],
    ["--port", "smtp", "--tls"],
    ["--port", "submission", "--tls", "--auth", "PLAIN"],
    ["--port", "submission", "--tls", "--auth", "LOGIN"],
    ["--port", "submissions", "--tls-on-connect", "--auth", "PLAIN"],
], ids=lambda o: " ".join(o[1:]))
def test_swaks_sends(demo, options):
    what = subject()
    options = [str(demo.port(o)) if o in postern.PORTS else o for o in options]
    if "--auth" in options:
        options += ["--auth-user", "bob@demo.test", "--auth-password", demo.users["bob"]]
    run("swaks", "--server", "127.0.0.1", "--from", "bob@demo.test", "--to", "alice@demo.test",
        "--header", f"Subject: {what}", *options)
    assert subjects(mail.imap(demo)).count(what.encode()) == 1


@pytest.mark.parametrize("method", ["plain", "login", "scram-sha-256"])
def test_msmtp_submits(demo, tmp_path, method):
    what = subject()
    run("msmtp", "--host=127.0.0.1", f"--port={demo.port('submissions')}", "--tls=on",
        "--tls-starttls=off", "--tls-certcheck=off", f"--auth={method}", "--user=bob@demo.test",
        f"--passwordeval=echo {demo.users['bob']}", "--from=bob@demo.test", "alice@demo.test",
        input=f"From: bob@demo.test\nSubject: {what}\n\nHello\n".encode())
    conn = mail.imap(demo)
    assert subjects(conn).count(what.encode()) == 1
    conn.select("INBOX", readonly=True)
    _, found = conn.uid("SEARCH", "SUBJECT", what)
    whole = mail.fetch(conn, found[0].split()[0])
    # RFC 6409 §8: what was missing has been added.
    assert b"\r\nDate: " in whole and b"\r\nMessage-ID: <" in whole


def test_curl_sends_and_reads(demo, tmp_path):
    what = subject()
    (tmp_path / "m").write_bytes(f"From: bob@demo.test\r\nSubject: {what}\r\n\r\nHi\r\n".encode())
    run("curl", "-sS", "-k", "--url", f"smtps://127.0.0.1:{demo.port('submissions')}", "--user",
        f"bob@demo.test:{demo.users['bob']}", "--mail-from", "bob@demo.test", "--mail-rcpt",
        "alice@demo.test", "-T", tmp_path / "m")
    user = ["-sS", "-k", "--user", f"alice@demo.test:{demo.users['alice']}"]
    found = run("curl", *user, f"imaps://127.0.0.1:{demo.port('imaps')}/INBOX",
                "-X", f"UID SEARCH SUBJECT {what}")
    uid = re.search(rb"\* SEARCH (\d+)", found)[1].decode()
    whole = run("curl", *user, f"imaps://127.0.0.1:{demo.port('imaps')}/INBOX;UID={uid}")
    assert what.encode() in whole and whole.endswith(b"\r\n\r\nHi\r\n")
    listing = run("curl", *user, f"pop3s://127.0.0.1:{demo.port('pop3s')}/")
    number = listing.split(b"\r\n")[-2].split()[0].decode()
    assert what.encode() in run("curl", *user,
                                f"pop3s://127.0.0.1:{demo.port('pop3s')}/{number}")


def test_mutt_reads_a_mailbox(demo, tmp_path):
    what = subject()
    mail.smtp(demo).send_message(mail.message("alice@demo.test", subject=what))
    (tmp_path / "muttrc").write_text(f"""
set imap_user="alice@demo.test" imap_pass="{demo.users['alice']}" ssl_verify_host=no
set ssl_verify_dates=no certificate_file={tmp_path}/certs ssl_force_tls=yes mail_check=5
set confirmappend=no confirmcreate=no wait_key=no
set folder="imaps://127.0.0.1:{demo.port('imaps')}/" spoolfile="+INBOX" header_cache=""
""")
    shutil.copy(certificate(demo), tmp_path / "certs")
    keys = (f"<limit>~s {what}<enter><tag-pattern>~A<enter><tag-prefix><copy-message>"
            f"{tmp_path}/out<enter>y<exit>")
    (tmp_path / "keys").write_text(f'push "{keys}"\n')
    # mutt wants a terminal: script(1) gives it one.
    run("script", "-qec", f"mutt -F {tmp_path}/muttrc -n -e 'source {tmp_path}/keys' -f +INBOX",
        "/dev/null", env={"TERM": "xterm", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL)
    assert what in (tmp_path / "out").read_text(errors="replace")


def test_s_nail_reads_over_pop3(demo, tmp_path):
    what = subject()
    mail.smtp(demo).send_message(mail.message("bob@demo.test", subject=what))
    url = f"pop3s://bob%40demo.test:{demo.users['bob']}@127.0.0.1:{demo.port('pop3s')}"
    out = run("s-nail", "-n", "-N", "-#", "-S", "v15-compat", "-S", "tls-verify=ignore", "-S",
              "pop3-auth=plain", "-R", "-Y", "headers *\nexit\n", "-f", url,
              env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TERM": "dumb",
                   "LANG": "C.UTF-8"})
    assert what[:20].encode() in out


def test_poplib_deletes_only_at_quit(new_demo):
    demo = new_demo()
    sent = mail.message("alice@demo.test")
    mail.smtp(demo).send_message(sent)

    def login():
        conn = poplib.POP3_SSL("127.0.0.1", demo.port("pop3s"), context=postern.tls_context())
        conn.user("alice@demo.test")
        conn.pass_(demo.users["alice"])
        return conn
    conn = login()
    assert conn.stat()[0] == 1
    conn.dele(1)
    conn.sock.close()  # no QUIT: RFC 1939 §6, nothing is removed
    conn.file.close()
    conn = mail.wait_until(lambda: try_login(login))
    assert conn.stat()[0] == 1
    assert sent["Message-ID"].encode() in b"\n".join(conn.retr(1)[1])
    conn.dele(1)
    conn.quit()
    assert login().stat()[0] == 0


def try_login(login):
    try:
        return login()
    except poplib.error_proto as error:
        assert b"IN-USE" in error.args[0]
        return None


def test_fetchmail_gets_everything(new_demo, tmp_path):
    demo = new_demo()
    client = mail.smtp(demo)
    wanted = {client.send_message(m) or m["Message-ID"]
              for m in (mail.message("alice@demo.test", body=f"number {i}\r\n.dot\r\n")
                        for i in range(20))}
    (tmp_path / "mda").write_text(f"#!/bin/sh\nexec cat >$(mktemp {tmp_path}/got.XXXXXX)\n")
    (tmp_path / "mda").chmod(0o755)
    for protocol, service in (("POP3", "pop3s"), ("IMAP", "imaps")):
        config = tmp_path / f"rc-{protocol}"
        config.write_text(f"poll 127.0.0.1 protocol {protocol} port {demo.port(service)} user "
                          f"\"alice@demo.test\" password \"{demo.users['alice']}\" ssl "
                          f"no sslcertck keep fetchall mda \"{tmp_path}/mda\"\n")
        config.chmod(0o600)
        run("fetchmail", "-f", config, "--nosyslog", "--pidfile", tmp_path / "pid",
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
        got = list(tmp_path.glob("got.*"))
        texts = [path.read_text() for path in got]
        assert {re.search(r"(?i)^message-id: *(<.*>)$", t, re.M)[1] for t in texts} == wanted
        assert len(got) == 20 and all("\n.dot\n" in t for t in texts)
        for path in got:
            path.unlink()


def test_fetchmail_is_not_held_up_by_letters_in_a_header(new_demo, tmp_path):
    """fetchmail says no UTF8 (RFC 6856), and stops at the first message that is refused."""
    demo = new_demo()
    latin = b"Subject: Gr\xfc\xdfe\r\n\r\nold spam\r\n"
    letters = "Subject: Grüße\r\n\r\ninternational\r\n".encode()
    with mail.smtp(demo) as client:
        client.ehlo()
        for octets, options in ((latin, []), (letters, ["SMTPUTF8", "BODY=8BITMIME"]),
                                (b"Subject: last\r\n\r\nplain\r\n", [])):
            client.sendmail("someone@elsewhere.test", "alice@demo.test", octets, options)
    (tmp_path / "mda").write_text(f"#!/bin/sh\nexec cat >$(mktemp {tmp_path}/got.XXXXXX)\n")
    (tmp_path / "mda").chmod(0o755)
    config = tmp_path / "rc"
    config.write_text(f"poll 127.0.0.1 protocol POP3 port {demo.port('pop3s')} user "
                      f"\"alice@demo.test\" password \"{demo.users['alice']}\" ssl "
                      f"no sslcertck nokeep fetchall mda \"{tmp_path}/mda\"\n")
    config.chmod(0o600)
    run("fetchmail", "-f", config, "--nosyslog", "--pidfile", tmp_path / "pid",
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    got = b"".join(path.read_bytes() for path in tmp_path.glob("got.*")).replace(b"\r\n", b"\n")
    for octets in (latin, letters, b"plain\r\n"):
        assert octets.replace(b"\r\n", b"\n") in got
    conn = mail.imap(demo)
    assert conn.select("INBOX")[1] == [b"0"]
    conn.logout()


def maildir_messages(folder):
    found = {}
    for path in [*folder.glob("cur/*"), *folder.glob("new/*")]:
        text = path.read_bytes()
        # mbsync marks what it copies by a field of its own.
        text = re.sub(rb"(?m)^X-TUID: .*\n", b"", text.replace(b"\r\n", b"\n"))
        found[re.search(rb"(?im)^message-id: *(<.*?>)", text)[1]] = text
    return found


def test_mbsync_both_ways(new_demo, tmp_path):
    """500 messages in several folders: equal on both sides, also after changes on both."""
    demo = new_demo()
    conn = mail.imap(demo)
    folders = ["INBOX", "Archive", "Lists", "Lists/postern-users", "Größe & Co"]
    for name in folders[2:]:
        conn.create('"' + name.encode("utf-7").decode() + '"' if name.isascii()
                    else '"Gr&APYA3w-e &- Co"')
    encoded = {name: '"Gr&APYA3w-e &- Co"' if not name.isascii() else f'"{name}"'
               for name in folders}
    for i in range(500):
        m = mail.message("alice@demo.test", subject=f"message {i}", body=f"line {i}\r\n" * (i + 1))
        flags = r"(\Seen)" if i % 2 else "()"
        assert conn.append(encoded[folders[i % len(folders)]], flags, None, m.as_bytes())[0] == "OK"
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "rc").write_text(f"""
IMAPAccount demo
Host 127.0.0.1
Port {demo.port('imaps')}
User alice@demo.test
Pass {demo.users['alice']}
SSLType IMAPS
CertificateFile {certificate(demo)}

IMAPStore remote
Account demo

MaildirStore local
Path {store}/
Inbox {store}/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns *
Create Both
Expunge Both
SyncState *
""")

    def sync():
        run("mbsync", "-c", tmp_path / "rc", "-a", env={"HOME": str(tmp_path), "PATH": "/usr/bin"})

    def remote():
        result = {}
        for name in folders:
            conn.select(encoded[name], readonly=True)
            _, data = conn.fetch("1:*", "(FLAGS BODY.PEEK[])")
            for part in data:
                if isinstance(part, tuple):
                    found = re.search(rb"(?im)^message-id: *(<.*?>)", part[1])
                    result[found[1]] = part[1].replace(b"\r\n", b"\n")
        return result

    def local():
        result = {}
        for name in folders:
            result |= maildir_messages(store / encoded[name].strip('"'))
        return result

    sync()
    assert len(local()) == 500
    assert local() == remote()
    # Changes on both sides: one goes here, one there, and flags.
    gone = next((store / "Lists").glob("cur/*"))
    gone_id = re.search(rb"(?im)^message-id: *(<.*?>)", gone.read_bytes())[1]
    gone.unlink()
    conn.select("INBOX")
    conn.store("1", "+FLAGS", r"(\Deleted)")
    conn.expunge()
    conn.store("1", "+FLAGS", r"(\Flagged)")
    new = mail.message("alice@demo.test", subject="written here")
    (store / "Archive/new/1700000000.1.here").write_bytes(new.as_bytes())
    sync()
    sync()
    assert len(local()) == 499
    assert gone_id not in remote()
    assert local().keys() == remote().keys()
    flagged = [path for path in store.glob("INBOX/cur/*:2,*") if "F" in path.name.split(":2,")[1]]
    assert len(flagged) == 1


def test_offlineimap_both_ways(new_demo, tmp_path):
    demo = new_demo()
    conn = mail.imap(demo)
    conn.create("Lists/postern")
    folders = ["INBOX", "Archive", "Lists/postern"]
    sent = {}
    for i in range(12):
        m = mail.message("alice@demo.test", body=f"number {i}\r\n.dot\r\n")
        sent[m["Message-ID"].encode()] = m.as_bytes()
        assert conn.append(folders[i % 3], None, None, m.as_bytes())[0] == "OK"
    der = ssl.PEM_cert_to_DER_cert(certificate(demo).read_text())
    (tmp_path / "rc").write_text(f"""
[general]
accounts = demo
metadata = {tmp_path}/metadata
[Account demo]
localrepository = local
remoterepository = remote
[Repository local]
type = Maildir
localfolders = {tmp_path}/store
[Repository remote]
type = IMAP
remotehost = 127.0.0.1
remoteport = {demo.port('imaps')}
ssl = yes
cert_fingerprint = {hashlib.sha1(der).hexdigest()}
remoteuser = alice@demo.test
remotepass = {demo.users['alice']}
""")

    def sync():
        run("offlineimap", "-c", tmp_path / "rc", "-o", "-u", "basic",
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
        return {folder: maildir_messages(tmp_path / "store" / folder.replace("/", "."))
                for folder in folders}

    local = sync()
    assert {key for found in local.values() for key in found} == sent.keys()
    assert all(b"\n.dot\n" in text for found in local.values() for text in found.values())
    gone = next((tmp_path / "store" / "Archive").glob("*/*:2,*"))
    gone_id = re.search(rb"(?im)^message-id: *(<.*?>)", gone.read_bytes())[1]
    gone.unlink()
    new = mail.message("alice@demo.test", subject="written here")
    (tmp_path / "store/Lists.postern/new/1700000000.1.here").write_bytes(new.as_bytes())
    conn.select("INBOX")
    conn.store("1", "+FLAGS", r"(\Flagged)")
    conn.store("2", "+FLAGS", r"(\Deleted)")
    conn.expunge()
    local = sync()
    assert len(local["INBOX"]) == 3
    assert len(list((tmp_path / "store/INBOX").glob("*/*:2,*F*"))) == 1
    assert mail.find(conn, gone_id.decode(), "Archive") == []
    assert len(mail.find(conn, new["Message-ID"], "Lists/postern")) == 1


def test_imaplib_over_starttls(demo):
    conn = imaplib.IMAP4("127.0.0.1", demo.port("imap"))
    assert conn.starttls(postern.tls_context())[0] == "OK"
    assert "STARTTLS" not in conn.capabilities and "AUTH=PLAIN" in conn.capabilities
    assert conn.login("bob@demo.test", demo.users["bob"])[0] == "OK"
    assert conn.select()[0] == "OK"
    conn.logout()


def test_poplib_over_stls(demo):
    conn = poplib.POP3("127.0.0.1", demo.port("pop3"))
    assert "STLS" in conn.capa()
    conn.stls(postern.tls_context())
    assert "STLS" not in conn.capa()
    conn.user("bob@demo.test")
    conn.pass_(demo.users["bob"])
    assert conn.stat()[0] >= 0
    conn.quit()


def certificate(demo):
    """The demo's self-made certificate, which its clients are told to trust."""
    for path in demo.folder.rglob("*.pem"):
        if "BEGIN CERTIFICATE" in path.read_text():
            return path
    raise AssertionError("the demo has no certificate")


def test_imaplib_walks_through_a_mailbox(new_demo):
    demo = new_demo()
    conn = mail.imap(demo)
    names = " ".join(row.decode() for row in conn.list()[1])
    for use in (r"\Drafts", r"\Sent", r"\Junk", r"\Trash", r"\Archive"):
        assert use in names
    first, second = mail.message("alice@demo.test"), mail.message("alice@demo.test")
    client = mail.smtp(demo)
    client.send_message(first)
    client.send_message(second)
    assert conn.select()[1] == [b"2"]
    assert conn.store("1", "+FLAGS", r"(\Flagged $Forwarded)")[0] == "OK"
    _, data = conn.fetch("1", "(FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
    assert rb"\Flagged" in data[0] and b"$Forwarded" in data[0]
    assert conn.copy("1", "Archive")[0] == "OK"
    assert conn.uid("MOVE", "2", "Trash")[0] == "OK"
    assert len(mail.find(conn, first["Message-ID"], "Archive")) == 1
    assert len(mail.find(conn, second["Message-ID"], "Trash")) == 1
    assert conn.select()[1] == [b"1"]
    conn.store("1", "+FLAGS", r"(\Deleted)")
    assert conn.expunge()[1] == [b"1"]
    assert conn.select()[1] == [b"0"]
    assert conn.create("Work/Projects")[0] == "OK"
    assert conn.rename("Work", "Play")[0] == "OK"
    assert any(b"Play/Projects" in row for row in conn.list()[1])
    assert conn.delete("Play/Projects")[0] == "OK"
    assert conn.logout()[0] == "BYE"


def test_idle_tells_of_new_mail(demo):
    conn = mail.imap(demo)
    conn.select()
    conn.send(b"i1 IDLE\r\n")
    assert conn.readline().startswith(b"+")
    mail.smtp(demo).send_message(mail.message("alice@demo.test"))
    conn.sock.settimeout(20)
    line = conn.readline()
    while b"EXISTS" not in line:
        line = conn.readline()
    conn.send(b"DONE\r\n")
    while not line.startswith(b"i1 OK"):
        line = conn.readline()
