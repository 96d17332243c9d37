"""`postern serve` with a configuration of the test's own, where the demo's will not do.

    with Served(folder, limits="errors 3") as server:
        socket.create_connection(server.address("smtp"))
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import mail
import postern

KINDS = {"smtp": "mx", "submission": "submission", "submissions": "submissions", "lmtp": "lmtp",
         "imap": "imap", "imaps": "imaps", "pop3": "pop3", "pop3s": "pop3s"}
METRICS = 100  # beside the ports that the demo has
PROXIED = 26
# Any that nobody else has: the roles of a server that root starts must not be root.
FIRST_UID = 64100


def make_certificate(folder, name):
    """A new self-made certificate in folder/certificate.pem and key.pem; its serial number."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                    "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
                   check=True, capture_output=True)
    serial = subprocess.run(["openssl", "x509", "-in", folder / "certificate.pem", "-noout",
                             "-serial"], check=True, capture_output=True, text=True).stdout
    return int(serial.strip().partition("=")[2], 16)


class Served(postern.Demo):
    """Made in a folder that every role's user can reach; gone with the server's end."""

    def __init__(self, limits="", extra="", users=None, join=None):
        self.home = tempfile.TemporaryDirectory(prefix="postern-served-")
        folder = Path(self.home.name)
        folder.chmod(0o755)
        super().__init__(folder / "data", users)
        self.base = postern.free_base()
        self.config = folder / "postern.conf"
        self.config_text = self._config(folder, limits, extra)
        self.join = join  # called in the server's process before it is the server

    def __exit__(self, *_):
        self.stop()
        self.home.cleanup()

    def _config(self, folder, limits, extra):
        lines = ["hostname mx.demo.test", f"data {self.folder}", "login-domain demo.test",
                 "reverse-dns no", f"certificate {folder}/certificate.pem {folder}/key.pem",
                 f"listen metrics {postern.HOST}:{self.base + METRICS}",
                 f"listen mx {postern.HOST}:{self.base + PROXIED} {{",
                 f"    proxy-from {postern.HOST}", "}"]
        lines += [f"listen {kind} {postern.HOST}:{self.port(service)}"
                  for service, kind in KINDS.items()]
        if os.geteuid() == 0:
            roles = ("edge", "courier", "keeper", "mailroom", "vault")
            lines += [f"user {role} {FIRST_UID + n}" for n, role in enumerate(roles)]
            lines += [f"group {FIRST_UID}"]
        limits = "\n".join(f"    {line.strip()}" for line in limits.splitlines())
        return "\n".join(lines) + f"\nlimits {{\n{limits}\n}}\n{extra}\n"

    def public_program(self):
        """The program where every user can reach it, which a build folder need not be."""
        copy = self.config.with_name("postern")
        if not copy.exists():
            shutil.copy(postern.PROGRAM, copy)
        return copy

    def run(self, *command, given=""):
        """A postern command on this server's configuration; its output."""
        done = subprocess.run([postern.PROGRAM, *command, "--config", self.config], input=given,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def start(self):
        is_new = not self.config.exists()
        self.config.write_text(self.config_text)
        if is_new:
            make_certificate(self.config.parent, "mx.demo.test")
            self.run("domain", "add", postern.DOMAIN)
            for name, password in self.users.items():
                self.run("account", "add", f"{name}@{postern.DOMAIN}", "--password-file", "-",
                         given=f"{password}\n")
        said_before = len(self.log())
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([postern.PROGRAM, "serve", "--config", self.config],
                                            stdout=subprocess.PIPE, stderr=log,
                                            start_new_session=True, preexec_fn=self.join)
        try:
            mail.wait_until(lambda: self._serves(said_before), postern.START_S)
        except AssertionError:
            self.kill()
            raise RuntimeError(f"the server did not start; it said\n{self.log()}") from None
        return self

    def _serves(self, said_before):
        assert self.process.poll() is None, "it ended"
        return re.search('event[=":]+serving', self.log()[said_before:])

    def events(self, name):
        """The lines of the log that tell of such an event, as dicts."""
        return [event for event in map(parse_logfmt, self.log().splitlines())
                if event.get("event") == name]

    def wait_for_event(self, name, seconds=20, **wanted):
        return mail.wait_until(lambda: [
            event for event in self.events(name)
            if all(event.get(key) == value for key, value in wanted.items())], seconds)


def parse_logfmt(line):
    """One line as a dict; raises ValueError where it is not logfmt."""
    found, rest = {}, line.strip()
    while rest:
        key, equals, rest = rest.partition("=")
        if not equals or not key.replace("-", "").replace("_", "").isalnum():
            raise ValueError(line)
        if rest.startswith('"'):
            value, rest = _quoted(rest)
        else:
            value, _, rest = rest.partition(" ")
        found[key] = value
        rest = rest.lstrip(" ")
    return found


def _quoted(text):
    value, position = "", 1
    while text[position] != '"':
        if text[position] == "\\":
            position += 1
        value += text[position]
        position += 1
    return value, text[position + 1:]
