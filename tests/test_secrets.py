"""No process keeps a password that went through it: the memory of the live roles is searched."""

import base64
import imaplib
import poplib
import re
import smtplib
import socket
import subprocess

import mail
import postern
import processes

USER = "alice@demo.test"
MARK = "Zq7vXw9kLmPd3RtY"
PASSWORD = "p" * 301 + MARK + "q" * 302 + MARK + "r"  # buffers grow under it


def found(pid, words):
    """Where any of them is in the process's memory."""
    hits = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S* \S+ \S+ \S+ *(.*)", line)
            if not place or place[3] in ("[vvar]", "[vsyscall]"):
                continue
            first, last = int(place[1], 16), int(place[2], 16)
            try:
                memory.seek(first)
                octets = memory.read(last - first)
            except OSError:
                continue
            hits += [(place[3], octets[max(0, at - 40):at + 40]) for word in words
                     for at in [octets.find(word)] if at >= 0]
    return hits


def traces():
    """The mark, and as it looks within base64, at each of its three places."""
    encoded = [base64.b64encode(b" " * shift + MARK.encode())[4:-4] for shift in range(3)]
    return [MARK.encode(), *encoded]


def by_imap(demo, password=PASSWORD):
    conn = imaplib.IMAP4(*demo.address("imap"))
    conn.login(USER, password)
    conn.logout()


def by_imap_sasl(demo):
    conn = imaplib.IMAP4_SSL(postern.HOST, demo.port("imaps"), ssl_context=postern.tls_context())
    conn.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode())
    conn.logout()


def by_pop3(demo, password=PASSWORD):
    conn = poplib.POP3_SSL(postern.HOST, demo.port("pop3s"), context=postern.tls_context())
    conn.user(USER)
    conn.pass_(password)
    conn.quit()


def by_submission(demo, mechanism):
    with smtplib.SMTP_SSL(postern.HOST, demo.port("submissions"),
                          context=postern.tls_context()) as conn:
        conn.ehlo()
        conn.user, conn.password = USER, PASSWORD
        conn.auth(mechanism, getattr(conn, f"auth_{mechanism.lower()}"))


def given_up(demo, service, octets):
    """Half a login, then the client is gone."""
    with socket.create_connection(demo.address(service), 20) as client:
        client.recv(1000)
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        while client.recv(1000):
            pass


def in_pieces(demo):
    with socket.create_connection(demo.address("imap"), 20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.recv(1000)
        line = f'a LOGIN {USER} "{PASSWORD}"\r\n'.encode()
        for at in range(0, len(line), 50):
            client.sendall(line[at:at + 50])
        assert client.recv(1000).startswith(b"a OK")


def refused(login, demo):
    try:
        login(demo, MARK + " is wrong")
    except (imaplib.IMAP4.error, poplib.error_proto):
        return
    raise AssertionError("let in")


def test_no_role_keeps_a_password(new_demo):
    processes.needs_root("read the memory of other users' processes")
    demo = new_demo(users={"alice": PASSWORD, "bob": "builder"})
    assert found(demo.process.pid, traces())  # the demo's own command line: so it can be found
    for _ in range(2):
        by_imap(demo)
        by_imap_sasl(demo)
        by_pop3(demo)
        in_pieces(demo)
        for mechanism in ("PLAIN", "LOGIN"):
            by_submission(demo, mechanism)
        refused(by_imap, demo)
        refused(by_pop3, demo)
        half = f"{USER} {PASSWORD}".encode()
        given_up(demo, "imap", b"a LOGIN " + half)
        given_up(demo, "pop3", b"USER x\r\nPASS " + half)
        given_up(demo, "imap", b"a AUTHENTICATE PLAIN " + base64.b64encode(half)[:-5])
        subprocess.run([postern.PROGRAM, "password", "set", USER, "--config",
                        demo.folder / "postern.conf"], input=PASSWORD.encode() + b"\n", check=True,
                       capture_output=True)
        mail.imap(demo, "bob").logout()  # all that came before has been dealt with
    for name, pid in processes.roles(demo).items():
        everybody = [pid, *(processes.descendants(pid) - {pid})]  # the keeper has children
        for process in everybody:
            assert not (hits := found(process, traces())), (name, process, hits)
