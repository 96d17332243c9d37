"""The service as `postern setup` installs it, under a real systemd: started, reloaded, killed,
stopped, and started by a socket."""
import imaplib
import shutil
import smtplib
import socket
import ssl

import pytest

import machine
import mail
import postern
import processes

ACCOUNT, PASSWORD = "you@example.org", "correct horse"
EXPOSURE_MAX = 3.0  # of 10, by systemd-analyze security
PORTS = (25, 587, 465, 143, 993, 110, 995)
SOCKET = """[Socket]
ListenStream=127.0.0.1:2525
FileDescriptorName=smtp
Service=postern.service
"""


@pytest.fixture(scope="module")
def host():
    """A machine on which the README's commands were run."""
    if not shutil.which("systemd-nspawn"):
        pytest.skip("no systemd-nspawn")
    try:
        with machine.Machine() as one:
            shutil.copy(postern.PROGRAM, one.path / "usr/local/bin/postern")
            one.said = [one.run("postern", "setup", ACCOUNT, "--password-file", "-",
                                given=PASSWORD + "\n").stdout for _ in range(2)]
            one.run("systemctl", "enable", "--now", "postern")
            yield one
    except machine.NoMachine as reason:
        pytest.skip(str(reason))


@pytest.fixture
def served(host):
    """The same, with the service running."""
    host.run("systemctl", "start", "postern")
    return host


def main_pid(host):
    return int(host.properties("postern", "MainPID")["MainPID"])


def log(host):
    return host.run("journalctl", "--unit=postern", "--output=cat", "--no-pager").stdout


def roles(host):
    """{name: pid}, as this machine counts them."""
    [warden] = [pid for pid in processes.descendants(host.leader)
                if inner_pid(pid) == main_pid(host)]
    return {processes.name_of(pid): pid for pid in processes.descendants(warden)
            if processes.role_of(pid)}


def status_of(pid):
    """{} where it has just ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file)
    except (FileNotFoundError, ProcessLookupError):
        return {}


def inner_pid(pid):
    return int(status_of(pid).get("NSpid", "0").split()[-1])


def deliver(subject):
    message = mail.message(ACCOUNT, subject=subject)
    with smtplib.SMTP("127.0.0.1", 25, local_hostname="client.test", timeout=20) as client:
        client.send_message(message)


def subjects():
    with imaplib.IMAP4_SSL("127.0.0.1", 993, ssl_context=postern.tls_context(),
                           timeout=20) as client:
        client.login(ACCOUNT, PASSWORD)
        client.select("INBOX", readonly=True)
        _, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].decode().strip().removeprefix("Subject: ")
                for part in data if isinstance(part, tuple)]


def test_setup_can_be_run_twice(host):
    first, second = host.said
    assert "made     /etc/systemd/system/postern.service" in first
    assert "the users postern-…" in first
    assert "made" not in second
    assert host.run("systemctl", "is-enabled", "postern").stdout == "enabled\n"


def test_it_is_started_when_it_serves(host):
    """Type=notify: whoever asked systemd to start it finds every port answering."""
    host.run("systemctl", "restart", "postern")
    with host.network():
        for port in PORTS:
            socket.create_connection(("127.0.0.1", port), 20).close()
            socket.create_connection(("::1", port), 20).close()
        deliver("started")
        assert "started" in subjects()
    assert "event=serving" in log(host)


def test_the_roles_have_their_own_fences_within_the_unit_s(served):
    found = roles(served)
    kinds = {name.split()[0] for name in found}
    assert kinds == {"edge", "courier", "keeper", "mailroom", "vault"}
    uids = set()
    for pid in found.values():
        status = status_of(pid)
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
        uids.add(status["Uid"])
    assert len(uids) == len(kinds) and not any(uid.startswith("0\t") for uid in uids)
    assert "no-landlock" not in log(served)


def test_everybody_on_the_machine_can_mail(served):
    served.run("sendmail", ACCOUNT, given="Subject: from nobody\n\nx\n", user=65534)
    with served.network():
        assert "from nobody" in subjects()


def test_reload_keeps_connections(served):
    with served.network():
        before = ssl.get_server_certificate(("127.0.0.1", 993))
        with smtplib.SMTP("127.0.0.1", 25, timeout=20) as client:
            client.ehlo("client.test")
            served.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                       "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=mail.example.org",
                       "-keyout", "/etc/postern/key.pem", "-out", "/etc/postern/certificate.pem")
            pid = main_pid(served)
            served.run("systemctl", "reload", "postern")
            assert main_pid(served) == pid
            assert ssl.get_server_certificate(("127.0.0.1", 993)) != before
            assert client.noop()[0] == 250
    state = served.properties("postern", "ActiveState", "SubState")
    assert state == {"ActiveState": "active", "SubState": "running"}


def test_a_reload_that_fails_is_told(served):
    config = served.path / "etc/postern/postern.conf"
    before = config.read_text()
    config.write_text(before + "nonsense here\n")
    try:
        assert served.run("systemctl", "reload", "postern", check=False).returncode != 0
        assert "nonsense" in log(served)
    finally:
        config.write_text(before)
    state = served.properties("postern", "ActiveState", "SubState")
    assert state == {"ActiveState": "active", "SubState": "running"}
    with served.network():
        socket.create_connection(("127.0.0.1", 25), 20).close()


def test_a_killed_role_is_started_anew_and_the_rest_stays(served):
    before, pid = roles(served), main_pid(served)
    served.run("kill", "-KILL", inner_pid(before["mailroom"]))

    def is_back():
        now = roles(served)
        return now.keys() == before.keys() and now["mailroom"] != before["mailroom"]
    mail.wait_until(is_back)
    after = roles(served)
    assert {name for name in before if before[name] != after[name]} == {"mailroom"}
    assert main_pid(served) == pid
    assert served.properties("postern", "OOMPolicy") == {"OOMPolicy": "continue"}
    with served.network():
        deliver("after a role's end")
        assert "after a role's end" in subjects()


def test_a_killed_warden_is_started_anew(served):
    pid = main_pid(served)
    everybody = processes.Watched(roles(served).values())
    with served.network():
        deliver("before the kill")
    served.run("kill", "-KILL", pid)
    everybody.wait()  # no role outlives it

    def is_back():
        state = served.properties("postern", "ActiveState", "MainPID")
        return state["ActiveState"] == "active" and int(state["MainPID"]) not in (0, pid)
    mail.wait_until(is_back)
    with served.network():
        assert "before the kill" in subjects()
        deliver("after the kill")


def test_it_stops_in_order(served):
    everybody = processes.Watched(roles(served).values())
    served.run("systemctl", "stop", "postern")
    everybody.wait(1)
    state = served.properties("postern", "ActiveState", "Result")
    assert state == {"ActiveState": "inactive", "Result": "success"}
    served.run("systemctl", "start", "postern")
    with served.network():
        assert "started" in subjects()


def test_the_service_makes_its_own_folders(host):
    host.run("systemctl", "stop", "postern")
    shutil.move(host.path / "var/lib/postern", host.path / "var/lib/postern.kept")
    try:
        host.run("systemctl", "start", "postern")
        host.run("postern", "domain", "add", "example.net")
        host.run("systemctl", "restart", "postern")
        assert "example.net" in host.run("postern", "domain", "list").stdout
    finally:
        host.run("systemctl", "stop", "postern")
        shutil.rmtree(host.path / "var/lib/postern")
        shutil.move(host.path / "var/lib/postern.kept", host.path / "var/lib/postern")


def test_a_socket_of_systemd_starts_it(host):
    config = host.path / "etc/postern/postern.conf"
    before = config.read_text()
    host.root.write("etc/systemd/system/postern.socket", SOCKET)
    config.write_text(before + "\nlisten mx systemd:smtp\n")
    try:
        host.run("systemctl", "stop", "postern")
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "start", "postern.socket")
        assert host.properties("postern", "ActiveState")["ActiveState"] == "inactive"
        with host.network(), smtplib.SMTP("127.0.0.1", 2525, timeout=20) as client:
            assert client.ehlo("client.test")[0] == 250
        host.run("systemctl", "restart", "postern")
        with host.network(), smtplib.SMTP("127.0.0.1", 2525, timeout=20) as client:
            assert client.ehlo("client.test")[0] == 250
    finally:
        config.write_text(before)
        host.run("systemctl", "stop", "postern.socket", "postern")


def test_systemd_has_nothing_to_say_against_the_unit(host):
    verified = host.run("systemd-analyze", "verify", "--man=no",
                        "/etc/systemd/system/postern.service")
    assert (verified.stdout, verified.stderr) == ("", "")
    rated = host.run("systemd-analyze", "security", "--no-pager", "postern.service").stdout
    exposure = float(rated.splitlines()[-1].split("service: ")[1].split()[0])
    assert exposure <= EXPOSURE_MAX, rated
