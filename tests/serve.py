"""`postern serve` with a configuration file of the test's own, as root or not.

    with Serve(folder, extra="processes edge 2\\n") as server:
        socket.create_connection(server.address("mx"))
"""
import contextlib
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import postern

ROLES = ("edge", "courier", "keeper", "mailroom", "vault")
PORTS_OF = ("mx", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s", "metrics")


@contextlib.contextmanager
def open_folder():
    """A folder that other users can pass through. pytest's own would not do: each run of pytest
    that begins shuts the folder they all share, also while another one is under way."""
    with tempfile.TemporaryDirectory(prefix="postern-serve-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def make_certificate(folder, name="mail.test", stem="cert"):
    """A self-made certificate; returns the paths of chain and key."""
    chain, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", chain, "-subj",
                    f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "2"],
                   check=True, capture_output=True)
    key.chmod(0o600)
    return chain, key


class Serve:
    def __init__(self, folder, extra="", listeners=PORTS_OF, environment=None, users=None):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.config_path = self.folder / "postern.conf"
        self.control = self.folder / "control"
        self.log_path = self.folder / "log"
        self.extra = extra
        self.environment = environment or {}
        self.users = users or {}
        self.certificate = make_certificate(self.folder)
        self.ports = {}
        self.process = None
        self.log_seen = 0
        for kind in listeners:
            self.add_port(kind)
        self.write_config()

    def add_port(self, kind):
        base = postern.free_base()
        self.ports[kind] = base + 25
        return self.ports[kind]

    def address(self, kind):
        return postern.HOST, self.ports[kind]

    def write_config(self):
        chain, key = self.certificate
        lines = ["hostname mail.test", f"data {self.data}", f"control {self.control}",
                 f"certificate {chain} {key}", "reverse-dns no"]
        lines += [f"listen {kind} {postern.HOST}:{port}" for kind, port in self.ports.items()]
        users = {role: "-" for role in ROLES} | self.users
        lines += [f"user {role} {user}" for role, user in users.items()]
        self.config_path.write_text("\n".join(lines) + "\n" + self.extra)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [postern.PROGRAM, "serve", "--config", self.config_path], stderr=log,
                stdout=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **self.environment})
        self.wait_for_log("event=serving")
        return self

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, pattern, timeout_s=30):
        """Waits until a line that matches is in the log behind those found before."""
        deadline = time.monotonic() + timeout_s
        while True:
            match = re.search(pattern, self.log()[self.log_seen:])
            if match:
                self.log_seen += match.end()
                return match
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} in the log:\n{self.log()}")
            with selectors.DefaultSelector() as nothing:
                nothing.select(0.02)

    def pid_of(self, role, index=0):
        """The latest process of that role."""
        pids = re.findall(rf"event=child-ready child={role} index={index} pid=(\d+)", self.log())
        return int(pids[-1])

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(postern.STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        finally:
            self.process = None
        return status
