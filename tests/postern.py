"""The program under test, as other tests start it: `postern demo` in a folder of its own.

    with Demo(folder) as demo:
        socket.create_connection(demo.address("smtp"))

POSTERN names another binary than build/postern. Nothing here sleeps: starting waits for the line
that says "ready", stopping waits for the end of the process.
"""
import os
import random
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import processes

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("POSTERN", ROOT / "build" / "postern"))

HOST = "127.0.0.1"
DOMAIN = "demo.test"
USERS = {"alice": "wonderland", "bob": "builder"}
PORTS = {"lmtp": 24, "smtp": 25, "pop3": 110, "imap": 143, "submissions": 465, "submission": 587,
         "imaps": 993, "pop3s": 995, "metrics": 100}
START_S = 30
STOP_S = 20


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


claimed = []


def claim(number):
    """True where no other test process has the number; it is ours as long as this process lives. An
    abstract name is as far-reaching as a port: the network namespace, whoever's the process is."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0postern-test-port-{number}")
    except OSError:
        name.close()
        return False
    claimed.append(name)
    return True


def free_base():
    """A base port at which every service of the demo can listen, below the kernel's own range. Test
    files run side by side: each port is ours and nobody else's."""
    while True:
        base = random.randrange(11000, 23000)
        if all(claim(base + port) and is_free(base + port) for port in PORTS.values()):
            return base


def tls_context():
    """For the demo's self-made certificate: encrypts, and trusts whoever is there."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Demo:
    def __init__(self, folder, users=None, arguments=()):
        self.folder = Path(folder)
        self.users = dict(USERS if users is None else users)
        self.arguments = list(arguments)
        self.base = None
        self.process = None
        self.log_path = self.folder.with_name(self.folder.name + ".log")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def port(self, service):
        return self.base + PORTS[service]

    def address(self, service):
        return HOST, self.port(service)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self):
        """Starts it and waits until it is ready; keeps base port and data over a restart."""
        base = self.base or free_base()
        command = [PROGRAM, "demo", self.folder, "--base", str(base), "--domain", DOMAIN]
        for name, password in self.users.items():
            command += ["--user", f"{name}:{password}"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command + self.arguments, stdout=subprocess.PIPE,
                                            stderr=log, start_new_session=True)
        self.base = base
        self._wait_until_ready()
        return self

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_S
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not any(line.startswith(b"ready") for line in said.splitlines()):
                left = deadline - time.monotonic()
                piece = b""
                if left > 0 and selector.select(left):
                    piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    self.kill()
                    raise RuntimeError(f"demo did not get ready; it said {said!r}\n{self.log()}")
                said += piece

    def stop(self, with_signal=signal.SIGTERM):
        """Asks it to stop; returns its exit status. Fails where it does not stop in time."""
        if self.process is None:
            return None
        self.process.send_signal(with_signal)
        try:
            return self._wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        """Ends the program and all its roles at once, as a power cut would."""
        if self.process is not None:
            everybody = processes.Watched(processes.descendants(self.process.pid))
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._wait(STOP_S)
            everybody.wait(STOP_S)

    def _wait(self, timeout):
        status = self.process.wait(timeout)
        self.process.stdout.close()
        self.process = None
        return status

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log_path.unlink(missing_ok=True)
