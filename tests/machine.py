"""A machine of its own with systemd as its first process: systemd-nspawn on a copy-on-write view of
this machine's root, with a network of its own and none of this machine's services.

    with Machine() as machine:
        machine.run("systemctl", "start", "postern")
        with machine.network():
            socket.create_connection(("127.0.0.1", 25))
"""
import contextlib
import ctypes
import os
import re
import shutil
import socket
import subprocess
import time

import peers
import processes

BOOT_S = 60
STOP_S = 30
CLONE_NEWNET = 0x40000000
TARGET = """[Unit]
Requires=basic.target
After=basic.target
AllowIsolate=yes
"""
# What a real kernel allows and Debian 12's nspawn does not know yet.
SYSTEM_CALLS = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"


class NoMachine(Exception):
    """This machine cannot have another one inside, and why."""


class Machine:
    def __init__(self):
        processes.needs_root("start a machine")
        try:
            self.root = peers.Root(bound=())
        except subprocess.CalledProcessError as error:
            raise NoMachine("no overlay can be mounted here") from error
        self.path = self.root.path
        self.log_path = self.root.folder / "console"
        self.process = self.leader = None

    def __enter__(self):
        self._forget_services()
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()  # nspawn then has systemd shut down in order
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.root.close()

    def _forget_services(self):
        for folder in ("etc/systemd/system", "etc/postern", "var/lib/postern"):
            shutil.rmtree(self.path / folder, ignore_errors=True)
        (self.path / "usr/sbin/sendmail").unlink(missing_ok=True)
        self.root.write("etc/systemd/system/tested.target", TARGET)
        self.root.write("etc/machine-id", "")

    def _boot(self):
        notify_path = self.root.folder / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, \
                open(self.log_path, "wb") as log:
            notify.bind(str(notify_path))
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", "--directory", self.path, "--register=no",
                 f"--machine=postern-{os.getpid()}", "--keep-unit", "--private-network",
                 "--notify-ready=yes", "--console=pipe", "--link-journal=no",
                 f"--system-call-filter={SYSTEM_CALLS}",
                 "systemd.unit=tested.target", "systemd.show_status=no"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": str(notify_path),
                     "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
            self._wait_until_ready(notify)

    def _wait_until_ready(self, notify):
        notify.settimeout(0.2)
        deadline = time.monotonic() + BOOT_S
        said = ""
        while "READY=1" not in said:
            try:
                said += notify.recv(4096).decode() + "\n"
            except TimeoutError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise NoMachine("systemd does not start here: "
                                    + self.log_path.read_text(errors="replace").strip()) from None
        self.leader = int(re.search("X_NSPAWN_LEADER_PID=(\\d+)", said)[1])

    def run(self, *command, given="", check=True, user=None):
        """A command on that machine; its CompletedProcess."""
        whole = ["nsenter", f"--target={self.leader}", "--all"]
        if user is not None:
            whole += [f"--setuid={user}", f"--setgid={user}"]
        done = subprocess.run([*whole, "--", *map(str, command)], input=given, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0 or not check, (command, done.stdout, done.stderr)
        return done

    def properties(self, unit, *names):
        """What systemd knows of a unit: {name: value}."""
        wanted = (f"--property={name}" for name in names)
        shown = self.run("systemctl", "show", unit, *wanted).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    @contextlib.contextmanager
    def network(self):
        """Sockets that are made inside the block are that machine's."""
        with open("/proc/self/ns/net", encoding="ascii") as ours, \
                open(f"/proc/{self.leader}/ns/net", encoding="ascii") as its:
            enter(its)
            try:
                yield
            finally:
                enter(ours)


def enter(namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
