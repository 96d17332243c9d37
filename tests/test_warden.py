"""The warden: starting, restarting, reloading and stopping the real roles."""
import contextlib
import fcntl
import os
import re
import signal
import smtplib
import socket
import subprocess
import threading
import time

import pytest

import mail
import postern
import processes
import serve


@pytest.fixture
def server(tmp_path):
    with serve.Serve(tmp_path / "server", listeners=("mx", "submissions")) as running:
        yield running


def smtp(server):
    return smtplib.SMTP(*server.address("mx"), timeout=20)


def served_name(port):
    """The name in the certificate that is served there."""
    with socket.create_connection((postern.HOST, port), timeout=20) as plain:
        with postern.tls_context().wrap_socket(plain) as tls:
            der = tls.getpeercert(binary_form=True)
    text = subprocess.run(["openssl", "x509", "-noout", "-subject", "-inform", "der"], input=der,
                          capture_output=True, check=True).stdout.decode()
    return re.search(r"CN ?= ?(\S+)", text).group(1)


def test_a_reload_takes_new_certificates_and_no_connection_drops(server):
    port = server.ports["submissions"]
    clear = smtp(server)
    secure = smtplib.SMTP_SSL(postern.HOST, port, timeout=20, context=postern.tls_context())
    assert served_name(port) == "mail.test"
    server.certificate = serve.make_certificate(server.folder, "new.test", "new")
    server.write_config()
    server.reload()
    server.wait_for_log("event=reloaded")
    assert served_name(port) == "new.test"
    assert clear.noop()[0] == 250
    assert secure.noop()[0] == 250
    assert secure.ehlo("client.test")[0] == 250
    clear.quit()
    secure.quit()


def test_a_reload_adds_and_removes_ports(server):
    stays = smtp(server)
    old = server.ports.pop("submissions")
    new = server.add_port("imaps")
    server.write_config()
    server.reload()
    server.wait_for_log("event=reloaded")
    with socket.create_connection((postern.HOST, new), timeout=20) as plain:
        with postern.tls_context().wrap_socket(plain) as tls:
            assert tls.recv(100).startswith(b"* OK")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((postern.HOST, old), timeout=20)
    assert stays.noop()[0] == 250
    stays.quit()


def test_a_reload_with_errors_says_all_of_them_and_keeps_the_old(server):
    good = server.config_path.read_text()
    server.config_path.write_text(good + "colour blue\nprocesses edge many\n")
    server.reload()
    lines = good.count("\n")
    server.wait_for_log(rf"event=reload-error .*postern.conf:{lines + 1}:1: ")
    server.wait_for_log(rf"event=reload-error .*postern.conf:{lines + 2}:\d+: ")
    server.wait_for_log("event=not-reloaded")
    with smtp(server) as client:
        assert client.noop()[0] == 250
    server.config_path.write_text(good.replace("cert.pem", "missing.pem"))
    server.reload()
    server.wait_for_log(r"event=reload-error .*missing\.pem: No such file")
    server.wait_for_log("event=not-reloaded")
    assert served_name(server.ports["submissions"]) == "mail.test"


def test_a_key_of_another_certificate_is_not_taken(server):
    serve.make_certificate(server.folder, "new.test", "new")
    good = server.config_path.read_text()
    server.config_path.write_text(good.replace("cert.pem", "new.pem"))
    server.reload()
    server.wait_for_log(r"event=reload-error .*cert\.key: this is not the certificate's key")
    server.wait_for_log("event=not-reloaded")
    assert served_name(server.ports["submissions"]) == "mail.test"
    server.stop()
    done = subprocess.run([postern.PROGRAM, "serve", "--config", server.config_path],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and "this is not the certificate's key" in done.stderr


@pytest.mark.parametrize("role", ["vault", "keeper", "mailroom", "courier", "edge"])
def test_a_role_that_is_killed_comes_back_and_the_others_go_on(server, role):
    client = smtp(server)
    pid = server.pid_of(role)
    others = {other: server.pid_of(other) for other in ("vault", "edge") if other != role}
    os.kill(pid, signal.SIGKILL)
    server.wait_for_log(rf'event=child-ended child={role} index=0 pid={pid} why="signal 9"')
    server.wait_for_log(rf"event=child-ready child={role} ")
    assert server.pid_of(role) != pid
    for other, before in others.items():
        assert server.pid_of(other) == before
    if role != "edge":
        assert client.noop()[0] == 250
        client.quit()
    assert served_name(server.ports["submissions"]) == "mail.test"
    with smtp(server) as again:
        assert again.ehlo("client.test")[0] == 250


@pytest.mark.parametrize("role", ["vault", "keeper", "mailroom", "courier", "edge"])
def test_a_role_that_does_not_answer_any_more_is_started_anew(tmp_path, role):
    with serve.Serve(tmp_path / "server", "limits {\n role-silence 1s\n}\n",
                     listeners=("mx",)) as server:
        pid = server.pid_of(role)
        os.kill(pid, signal.SIGSTOP)
        server.wait_for_log(rf'event=child-killed child={role} .*"does not answer any more"')
        server.wait_for_log(rf"event=child-ready child={role} ")
        assert server.pid_of(role) != pid
        with smtp(server) as client:
            assert client.ehlo("client.test")[0] == 250


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_leaves_no_process(server, number):
    pids = processes.roles(server).values()
    assert {server.pid_of(role) for role in serve.ROLES} <= set(pids)
    server.process.send_signal(number)
    assert server.process.wait(postern.STOP_S) == 0
    server.process = None
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not server.control.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address("mx"), timeout=20)


def state_of(pid):
    """The letter of /proc/PID/stat: T is stopped, Z has ended and nobody has heard so."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def stop_twice(server):
    """The second time in a hurry: whoever is not gone three seconds later is killed."""
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_log("event=stopping")
    server.process.send_signal(signal.SIGTERM)


def test_a_role_that_does_not_stop_is_killed(server):
    edge = server.pid_of("edge")
    os.kill(edge, signal.SIGSTOP)
    mail.wait_until(lambda: state_of(edge) == "T")
    stop_twice(server)
    server.wait_for_log(r'event=child-killed child=edge .*"did not stop"')
    assert server.process.wait(postern.STOP_S) == 0
    server.process = None


def test_a_role_that_stops_at_the_last_moment_is_not_called_killed(server):
    edge = server.pid_of("edge")
    os.kill(edge, signal.SIGSTOP)
    mail.wait_until(lambda: state_of(edge) == "T")
    stop_twice(server)
    deadline = time.monotonic() + 3.5  # what it has been given, and more
    os.kill(server.process.pid, signal.SIGSTOP)
    mail.wait_until(lambda: state_of(server.process.pid) == "T")
    os.kill(edge, signal.SIGCONT)
    mail.wait_until(lambda: state_of(edge) == "Z" and time.monotonic() > deadline)
    os.kill(server.process.pid, signal.SIGCONT)
    assert server.process.wait(postern.STOP_S) == 0
    server.process = None
    assert "child-killed" not in server.log()


def test_several_processes_of_a_role_share_the_work(tmp_path):
    with serve.Serve(tmp_path / "server", listeners=("mx", "submissions"),
                     extra="processes edge 3\nprocesses mailroom 2\n") as server:
        assert len({server.pid_of("edge", index) for index in range(3)}) == 3
        assert len({server.pid_of("mailroom", index) for index in range(2)}) == 2
        clients = [smtp(server) for _ in range(10)]
        for client in clients:
            assert client.ehlo("client.test")[0] == 250
            client.quit()
        assert served_name(server.ports["submissions"]) == "mail.test"


def edges_on(folder, processors):
    """How many edges there are of a server that may run on these."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        with serve.Serve(folder, listeners=("mx",)) as server:
            return len(processes.edges(server))
    finally:
        os.sched_setaffinity(0, before)


def test_unless_told_there_is_an_edge_for_each_processor_up_to_four(tmp_path):
    all_of_them = os.sched_getaffinity(0)
    assert edges_on(tmp_path / "one", {min(all_of_them)}) == 1
    assert edges_on(tmp_path / "all", all_of_them) == min(4, len(all_of_them))


def run_serve(config):
    return subprocess.run([postern.PROGRAM, "serve", "--config", config], capture_output=True,
                          text=True, timeout=60)


def test_a_start_with_errors_says_all_of_them(tmp_path):
    server = serve.Serve(tmp_path / "server", listeners=("mx",), extra="colour blue\nlog {\n")
    done = run_serve(server.config_path)
    lines = server.config_path.read_text().count("\n")
    assert done.returncode != 0
    assert f"postern.conf:{lines - 1}:1: " in done.stderr
    assert re.search(rf"postern\.conf:{lines}:\d+: |postern\.conf:{lines + 1}:\d+: ", done.stderr)


def test_password_files_of_routes_that_cannot_be_read_are_told(tmp_path):
    """All at once; the keeper is never handed a pipe, for which it would wait."""
    routes = ""
    for name in ("missing", "pipe"):
        routes += (f"route {name} {{\n    domains {name}.test\n    to smtp.test\n"
                   f"    tls required\n    auth me {tmp_path}/{name}\n}}\n")
    os.mkfifo(tmp_path / "pipe")
    server = serve.Serve(tmp_path / "server", listeners=("mx",), extra=routes)
    done = run_serve(server.config_path)
    assert done.returncode != 0
    assert f"{tmp_path}/missing: No such file" in done.stderr
    assert f"{tmp_path}/pipe: not a file" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its roles to users")
def test_a_user_who_is_not_there_is_told_before_anything_starts(tmp_path):
    server = serve.Serve(tmp_path / "server", listeners=("mx",), extra="user courier nobody-here\n")
    done = run_serve(server.config_path)
    line = server.config_path.read_text().count("\n")
    assert done.returncode != 0
    assert f'postern.conf:{line}:14: user: there is no user "nobody-here"\n' in done.stderr


def test_a_certificate_that_ends_soon_is_told_of(server):
    """It is valid for two days."""
    assert "level=warn role=edge event=certificate-ends-soon end=2" in server.log()


def test_a_port_that_is_taken_is_named(tmp_path):
    server = serve.Serve(tmp_path / "server", listeners=("mx",))
    with socket.create_server(server.address("mx")):
        done = run_serve(server.config_path)
    assert done.returncode != 0
    assert f"port {server.ports['mx']}" in done.stderr
    assert "Address already in use" in done.stderr


def open_files(pid):
    files = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            files.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return files


def test_a_vault_waits_for_a_lock_that_is_about_to_be_let_go(server):
    old = server.pid_of("vault")
    lock = server.data / "store" / "lock"
    with open(lock, "r+b") as held:
        next_in_line = threading.Thread(target=fcntl.flock, args=(held, fcntl.LOCK_EX))
        next_in_line.start()
        os.kill(old, signal.SIGKILL)
        next_in_line.join(20)
        new = processes.wait_for_role(server, "vault", other_than=old)
        while str(lock) not in open_files(new):
            pass  # until it is there and finds it taken; or is gone, and the folder with it
    server.wait_for_log(rf"event=child-ready child=vault index=0 pid={new}\b")
    with smtp(server) as client:
        assert client.noop()[0] == 250


def test_a_second_server_on_the_same_data_does_not_start(server, tmp_path):
    other = serve.Serve(tmp_path / "other", listeners=("mx",))
    other.data = server.data
    other.write_config()
    done = run_serve(other.config_path)
    assert done.returncode != 0
    assert f"{server.pid_of('vault')}" in done.stderr
    with smtp(server) as client:
        assert client.noop()[0] == 250


def test_the_same_configuration_twice_is_told_so(server):
    other = server.config_path.with_name("other.conf")
    port = server.ports["mx"]
    other.write_text(server.config_path.read_text().replace(f":{port}\n", f":{server.add_port('pop3')}\n")
                     .replace("listen submissions", "#"))
    done = run_serve(other)
    assert done.returncode != 0
    assert f"{server.control}: a server listens there already" in done.stderr


def test_a_log_file_is_not_written_over(tmp_path):
    server = serve.Serve(tmp_path / "server", listeners=("mx",))
    with open(server.log_path, "wb", buffering=0) as log:
        log.write(b"before\n")
        server.process = subprocess.Popen([postern.PROGRAM, "serve", "--config", server.config_path],
                                          stderr=log, stdout=subprocess.DEVNULL,
                                          start_new_session=True)
        server.wait_for_log("event=serving")
        log.write(b"meanwhile\n")
        server.stop()
        log.write(b"behind\n")
    lines = server.log().splitlines()
    assert lines[0] == "before" and lines[-1] == "behind" and "meanwhile" in lines
    assert all(line.startswith("time=") for line in lines if line.count(" ") > 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_the_control_socket_is_for_root_and_the_server_alone():
    with serve.open_folder() as folder:
        with serve.Serve(folder / "server", listeners=("mx",)) as server:
            see_a_stranger_refused(server)


def see_a_stranger_refused(server):
    assert server.control.stat().st_mode & 0o777 == 0o600
    server.control.chmod(0o666)
    script = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
              "s.settimeout(20); sys.exit(0 if s.recv(1) == b'' else 1)")
    done = subprocess.run(["/usr/bin/python3", "-c", script, server.control], user=65534,
                          check=False, timeout=60)
    assert done.returncode == 0
    server.wait_for_log("event=operator-refused")


def test_nonsense_on_the_control_socket_harms_nobody(server):
    for nonsense in (b"", b"x", b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 100,
                     b"\x09\0\0\0\1\x10\0\0\0\0\0\0\xee"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(server.control))
            client.sendall(nonsense)
            client.shutdown(socket.SHUT_WR)
            try:
                assert client.recv(100) == b""
            except ConnectionResetError:
                pass
    with smtp(server) as client:
        assert client.noop()[0] == 250


def test_the_service_manager_is_told(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(30)
        with serve.Serve(tmp_path / "server", listeners=("mx",),
                         environment={"NOTIFY_SOCKET": str(path)}) as server:
            assert manager.recv(1000).startswith(b"READY=1\n")
            server.reload()
            assert re.match(rb"RELOADING=1\nMONOTONIC_USEC=\d+\n", manager.recv(1000))
            assert manager.recv(1000).startswith(b"READY=1\n")
        assert manager.recv(1000).startswith(b"STOPPING=1\n")


def test_sockets_of_systemd_are_served(tmp_path):
    server = serve.Serve(tmp_path / "server", listeners=(), extra="listen mx systemd:smtp\n")
    with socket.create_server((postern.HOST, 0)) as listener:
        listener.set_inheritable(True)
        shell = ('exec 3<&"$1" && shift && LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp '
                 'exec "$@"')
        with open(server.log_path, "ab") as log:
            server.process = subprocess.Popen(
                ["/bin/bash", "-c", shell, "bash", str(listener.fileno()), postern.PROGRAM,
                 "serve", "--config", server.config_path], stderr=log, pass_fds=[listener.fileno()],
                stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            server.wait_for_log("event=serving")
            with smtplib.SMTP(*listener.getsockname(), timeout=20) as client:
                assert client.ehlo("client.test")[0] == 250
            server.reload()
            server.wait_for_log("event=reloaded")
            with smtplib.SMTP(*listener.getsockname(), timeout=20) as client:
                assert client.ehlo("client.test")[0] == 250
        finally:
            server.stop()
