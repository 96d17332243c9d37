"""What the roles of a server that was started as root may not do, tried from inside them.

gdb makes the live process itself call the system: the kernel then applies that process's own
filter, Landlock rules, uid and capabilities, and the program needs no door for the test.
"""
import getpass
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import serve

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("gdb"),
                                reason="needs root and gdb")

ROLES = {"edge": 61001, "keeper": 61002, "mailroom": 61003, "vault": 61004, "courier": 61005}
EPERM, EACCES, EFAULT = 1, 13, 14
PROT_READ, PROT_WRITE = 1, 2
AF_UNIX, AF_INET, SOCK_STREAM = 1, 2, 1
PTRACE_ATTACH = 16

# Numbers of x86-64 and of arm64.
CALLS = {"x86_64": {"openat": 257, "socket": 41, "connect": 42, "execve": 59, "ptrace": 101,
                    "clone": 56, "kill": 62, "bind": 49, "listen": 50, "mprotect": 10,
                    "getrandom": 318},
         "aarch64": {"openat": 56, "socket": 198, "connect": 203, "execve": 221, "ptrace": 117,
                     "clone": 220, "kill": 129, "bind": 200, "listen": 201, "mprotect": 226,
                     "getrandom": 278}}[os.uname().machine]

# Where gdb lets the inferior call, a string must lie in the inferior: on its stack, below what is
# in use. It is written there byte by byte, for no allocator may be interrupted.
GDB_SCRIPT = r"""
import gdb
def put(text):
    at = int(gdb.parse_and_eval("(unsigned long)$sp")) - 65536
    gdb.selected_inferior().write_memory(at, text.encode() + b"\0")
    return at
def act(name, number, *arguments):
    values = [put(a) if isinstance(a, str) else a for a in arguments]
    values += [0] * (6 - len(values))
    call = "((long (*)(long, ...)) syscall)(%d, %s)" % (number, ", ".join("%dL" % v for v in values))
    result = int(gdb.parse_and_eval(call))
    error = int(gdb.parse_and_eval("*((int *(*)(void)) __errno_location)()")) if result < 0 else 0
    print("ACT %s %d %d" % (name, result, error))
"""


@pytest.fixture(scope="module")
def server():
    with serve.open_folder() as folder:
        with serve.Serve(folder / "server", users=ROLES, extra="group 61009\nprocesses edge 2\n") as running:
            yield running


def inside(pid, acts):
    """Makes the process do the acts; returns {name: (result, errno)}."""
    script = GDB_SCRIPT + "".join(f"act({name!r}, *{arguments!r})\n" for name, *arguments in acts)
    done = subprocess.run(["gdb", "-q", "-nx", "-batch", "-p", str(pid),
                           "-ex", "python exec(__import__('os').environ['ACTS'])"],
                          env={**os.environ, "ACTS": script}, capture_output=True, text=True,
                          timeout=60)
    found = {name: (int(result), int(error)) for name, result, error in
             re.findall(r"^ACT (\S+) (-?\d+) (\d+)$", done.stdout, re.M)}
    assert len(found) == len(acts), done.stdout + done.stderr
    return found


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


# Which there are of each role.
PROCESSES = [("edge", 0), ("edge", 1)] + [(role, 0) for role in ROLES if role != "edge"]


@pytest.mark.parametrize("role,index", PROCESSES)
def test_the_kernel_says_it_is_shut_in(server, role, index):
    status = status_of(server.pid_of(role, index))
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "1"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["Uid"].split() == [str(ROLES[role])] * 4
    assert status["Groups"].split() == []
    assert status["Name"] == f"postern-{role}"[:15]
    limits = Path(f"/proc/{server.pid_of(role, index)}/limits").read_text()
    for limit in ("Max core file size", "Max processes"):
        assert re.search(rf"^{limit} +0 +0 ", limits, re.M), limits
    # Root's, whoever it is: nobody of its uid may look into it.
    assert os.stat(f"/proc/{server.pid_of(role, index)}/environ").st_uid == 0


def forbidden_acts(server, role):
    store = str(server.data / "store" / "postern.db")
    secrets = str(server.data / "keeper" / "secrets.db")
    at_cwd = -100
    acts = [
        ("open", CALLS["openat"], at_cwd, "/etc/passwd", os.O_RDONLY),
        ("create", CALLS["openat"], at_cwd, "/tmp/postern-was-here", os.O_CREAT | os.O_WRONLY, 0o600),
        ("execve", CALLS["execve"], "/bin/true", 0, 0),
        ("ptrace", CALLS["ptrace"], PTRACE_ATTACH, server.process.pid),
        ("fork", CALLS["clone"], 17),
        ("kill", CALLS["kill"], server.process.pid, 0),
        ("unix-socket", CALLS["socket"], AF_UNIX, SOCK_STREAM),
        ("listen", CALLS["listen"], 3, 1),
    ]
    if role != "courier":
        acts += [("socket", CALLS["socket"], AF_INET, SOCK_STREAM),
                 ("connect", CALLS["connect"], 3, 0, 16),
                 ("bind", CALLS["bind"], 3, 0, 16)]
    if role not in ("vault", "mailroom"):
        acts.append(("read-store", CALLS["openat"], at_cwd, store, os.O_RDONLY))
    if role == "mailroom":
        acts.append(("write-store", CALLS["openat"], at_cwd, store, os.O_RDWR))
    if role != "keeper":
        acts.append(("read-secrets", CALLS["openat"], at_cwd, secrets, os.O_RDONLY))
    return acts


@pytest.mark.parametrize("role,index", PROCESSES)
def test_each_forbidden_act_is_refused_from_inside(server, role, index):
    pid = server.pid_of(role, index)
    for name, (result, error) in inside(pid, forbidden_acts(server, role)).items():
        assert result == -1 and error in (EPERM, EACCES), (role, name, result, error)
    assert server.pid_of(role, index) == pid, "it must have gone on"


def counts_of(pid):
    """{rights: address} of the memory in which edges count."""
    lines = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {words[1]: int(words[0].partition("-")[0], 16)
            for words in lines if words[-1] == "(deleted)" and "memfd:postern" in words[-2]}


@pytest.mark.parametrize("index", (0, 1))
def test_what_another_edge_counts_can_be_read_and_never_written(server, index):
    pid = server.pid_of("edge", index)
    assert not [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if "memfd" in os.readlink(fd)]
    counts = counts_of(pid)
    assert counts.keys() == {"rw-s", "r--s"}
    found = inside(pid, [
        ("write", CALLS["getrandom"], counts["r--s"], 8, 0),  # the kernel is to write there for it
        ("open-it", CALLS["mprotect"], counts["r--s"], 4096, PROT_READ | PROT_WRITE),
        ("own", CALLS["mprotect"], counts["rw-s"], 4096, PROT_READ | PROT_WRITE)])
    assert found == {"write": (-1, EFAULT), "open-it": (-1, EACCES), "own": (0, 0)}


def shut_the_folders_of_pytest():
    """As another run of it does when it begins, at any time: nothing of ours may lie below."""
    shared = Path(tempfile.gettempdir()) / f"pytest-of-{getpass.getuser()}"
    if shared.exists():
        shared.chmod(0o700)


def test_what_is_allowed_works_so_the_method_is_sound(server):
    store = str(server.data / "store" / "postern.db")
    secrets = str(server.data / "keeper" / "secrets.db")
    shut_the_folders_of_pytest()
    for role, path in (("mailroom", store), ("vault", store), ("keeper", secrets)):
        result, error = inside(server.pid_of(role),
                               [("read", CALLS["openat"], -100, path, 0)])["read"]
        assert result > 0, (role, error)
    result, _ = inside(server.pid_of("courier"),
                       [("socket", CALLS["socket"], AF_INET, SOCK_STREAM)])["socket"]
    assert result > 0


def test_a_call_that_only_an_intruder_makes_ends_the_process_and_the_warden_starts_another(server):
    pid = server.pid_of("courier")
    bpf = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
    subprocess.run(["gdb", "-q", "-nx", "-batch", "-p", str(pid), "-ex",
                    f"print ((long (*)(long, ...)) syscall)({bpf}, 0, 0, 0)"],
                   capture_output=True, timeout=60, check=False)
    server.wait_for_log(r"event=child-ended child=courier .*why=\"signal 31\"")
    server.wait_for_log(rf"event=child-ready child=courier index=0 pid=(?!{pid}\b)\d+")
    assert server.pid_of("courier") != pid


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
