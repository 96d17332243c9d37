"""The processes of a running server: which is which, what they do (strace), when they are gone."""

import array
import ctypes
import errno
import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path

import pytest

PR_SET_CHILD_SUBREAPER = 36


def _parents():
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            yield int(folder.name), int(parent)


def descendants(pid):
    """All processes that descend from pid, itself among them."""
    parents = dict(_parents())
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def adopt_orphans():
    """A process whose parent ends becomes our child, not init's: `descendants` still finds it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def words(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def role_of(pid):
    """The role's name; None for the warden and for what is no role."""
    given = words(pid)
    return given[given.index("--role") + 1] if "--role" in given[:-1] else None


def name_of(pid):
    """"edge", and where there are several "edge 1" and so on; None where role_of has none."""
    given, role = words(pid), role_of(pid)
    index = given[given.index("--index") + 1] if "--index" in given[:-1] else "0"
    return role if role is None or index == "0" else f"{role} {index}"


def roles(server):
    """{name: pid} of the roles that run now; of several of a kind the first has the kind's name."""
    parents = dict(_parents())
    named = {name_of(pid): pid for pid in descendants(server.process.pid)
             if role_of(parents.get(pid)) is None}  # the keeper's own children are not the keeper
    named.pop(None, None)
    return named


def names_of(server, role):
    """Those of roles() that are of that kind."""
    return [name for name in sorted(roles(server)) if name.split()[0] == role]


def edges(server):
    """The pids of all edges that run now."""
    return [pid for name, pid in roles(server).items() if name.split()[0] == "edge"]


def wait_for_role(server, name, other_than=None, seconds=20):
    """Its pid, as soon as it runs (again)."""
    deadline = time.monotonic() + seconds
    while True:
        pid = roles(server).get(name)
        if pid is not None and pid != other_than:
            return pid
        assert time.monotonic() < deadline, f"there is no {name}:\n{server.log()[-3000:]}"
        time.sleep(0.005)


def needs_root(why):
    """Ends the test as skipped where we are not root."""
    if os.geteuid() != 0:
        pytest.skip(f"only root can {why}")


class Watched:
    """Knows when processes have ended, children or not."""

    def __init__(self, pids):
        self.fds = []
        for pid in pids:
            try:
                self.fds.append(os.pidfd_open(pid))
            except ProcessLookupError:
                pass

    def wait(self, seconds=20):
        deadline = time.monotonic() + seconds
        for fd in self.fds:
            assert select.select([fd], [], [], max(0, deadline - time.monotonic()))[0], \
                "a process does not end"
            os.close(fd)
        self.fds = []


def kill_role(server, name):
    """kill -9, and only that: returns the pid it had, None where it was just being restarted."""
    pid = roles(server).get(name)
    if pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pid = None
    return pid


def sockets_of(pid):
    """{number: socket} of that process: the very same, duplicated into this one."""
    needs_root("look into the roles")
    system_call_pidfd_getfd = 438
    getfd = ctypes.CDLL(None, use_errno=True).syscall
    pidfd = os.pidfd_open(pid)
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(entry).startswith("socket:"):
            fd = getfd(system_call_pidfd_getfd, pidfd, int(entry.name), 0)
            if fd >= 0:
                found[int(entry.name)] = socket.socket(fileno=fd)
            elif ctypes.get_errno() != errno.EBADF:  # closed meanwhile
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
    os.close(pidfd)
    return found


def has_unread(pid):
    """Does any socket of that process hold bytes that it has not read?"""
    total = 0
    for one in sockets_of(pid).values():
        count = array.array("i", [0])
        try:
            fcntl.ioctl(one, termios.FIONREAD, count)
        except OSError:  # a listening socket
            pass
        total += count[0]
        one.close()
    return total > 0


class Strace:
    """strace on running processes; returns when it is attached to all of them."""

    def __init__(self, pids, *options, output="/dev/null"):
        needs_root("look into the roles")
        command = ["strace", "-o", str(output), *options]
        for pid in pids:
            command += ["-p", str(pid)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        start_new_session=True)
        self.said = b""
        while self.said.count(b" attached") < len(pids):
            piece = os.read(self.process.stderr.fileno(), 4096)
            assert piece, f"strace cannot attach: {self.said.decode(errors='replace')}"
            self.said += piece

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def ended(self, seconds):
        """True where it ended because what it was attached to did."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
        self.process.stderr.close()


class Call:
    """A system call in a trace. start and end are positions in it: one that ended before another
    one started comes before it, in whatever processes they were."""

    def __init__(self, pid, name, arguments, start):
        self.pid, self.name, self.arguments, self.start = pid, name, arguments, start
        self.end = self.result = None

    def on(self):
        """The first argument as strace -yy shows it: 7</path/to/file>, 12<TCP:[…]>."""
        return self.arguments.partition(", ")[0]


LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>(.*)|(\w+)\((.*))$", re.S)


def read_trace(path):
    """The calls of a file written by strace -f, in the order of their start. One still open when
    the trace ends has end None."""
    calls, open_calls = [], {}
    for position, line in enumerate(Path(path).read_text(errors="replace").splitlines()):
        match = LINE.match(line)
        if not match:
            continue
        pid, resumed, rest, name, arguments = match.groups()
        if resumed:
            call = open_calls.pop(pid)
            call.arguments += rest
        else:
            call = Call(int(pid), name, arguments, position)
            calls.append(call)
            if arguments.endswith("<unfinished ...>"):
                call.arguments = arguments.removesuffix("<unfinished ...>")
                open_calls[pid] = call
                continue
        call.end = position
        call.result = call.arguments.rpartition(" = ")[2]
    return calls
