"""Other mail servers, run for real: each MTA package is unpacked over a copy-on-write view of this
machine's root (the packages exclude each other) and started there by chroot, on loopback ports."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import processes

INSTALLED_CHAIN, INSTALLED_KEY = "/etc/peer-chain.pem", "/etc/peer-key.pem"
CACHE = pathlib.Path(tempfile.gettempdir()) / f"postern-peer-packages-{os.geteuid()}"


def wait_for_port(port, process=None, seconds=20, host="127.0.0.1"):
    """Returns when something accepts on the loopback port."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            if process and process.poll() is not None:
                raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing listens on port {port}")
            time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def free_port_base():
    """A base such that base + 24, 25, 110, 143, 465, 587, 993, 995 and 100 are free."""
    for base in range(12000, 23000, 100):
        try:
            for offset in (24, 25, 110, 143, 465, 587, 993, 995, 100):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports")


def cached(name):
    """A folder for what is kept between runs. What is in there is run, so it has to be our own."""
    CACHE.mkdir(mode=0o755, exist_ok=True)
    if CACHE.lstat().st_uid != os.geteuid() or CACHE.is_symlink():
        raise RuntimeError(f"{CACHE} is somebody else's")
    folder = CACHE / name
    folder.mkdir(exist_ok=True)
    return folder


def download(package):
    """The package's .deb, fetched once a machine."""
    folder = cached(package)
    found = sorted(folder.glob("*.deb"))
    if not found:
        run = subprocess.run(["apt-get", "-qq", "download", package], cwd=folder,
                             capture_output=True, text=True)
        found = sorted(folder.glob("*.deb"))
        if not found:
            raise RuntimeError(f"cannot download {package}: {run.stderr}")
    return found[0]


def unpacked(*packages):
    """A folder with the files of these packages, for a program that can run from anywhere; its
    libraries are found through `environment`. Made once a machine."""
    folder = cached("unpacked") / "+".join(packages)
    if not folder.is_dir():
        fresh = pathlib.Path(tempfile.mkdtemp(dir=folder.parent))
        fresh.chmod(0o755)
        for package in packages:
            subprocess.run(["dpkg", "-x", download(package), fresh], check=True)
        try:
            fresh.rename(folder)
        except OSError:  # another test was quicker
            shutil.rmtree(fresh)
    return folder


def environment(folder):
    """For a program of such a folder."""
    libraries = ":".join(sorted({str(path.parent) for path in folder.rglob("*.so*")}))
    return {**os.environ, "LD_LIBRARY_PATH": libraries}


class Root:
    """A root of its own with some packages unpacked. Needs to be root, and an overlay mount."""

    def __init__(self, *packages, bound=("dev", "proc")):
        processes.needs_root("mount an overlay")
        self.bound = bound
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postern-peer-"))
        self.path = self.folder / "root"
        for name in ("root", "upper", "work"):
            (self.folder / name).mkdir()
        options = f"lowerdir=/,upperdir={self.folder}/upper,workdir={self.folder}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.path], check=True)
        for name in bound:
            subprocess.run(["mount", "--bind", f"/{name}", self.path / name], check=True)
        for package in packages:
            self.unpack(download(package))

    def unpack(self, deb):
        """As dpkg -x, but /lib and its like stay the links that they are."""
        files = subprocess.Popen(["dpkg", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", self.path],
                       stdin=files.stdout, check=True)
        if files.wait() != 0:
            raise RuntimeError(f"cannot unpack {deb}")

    def run(self, *command, **options):
        return subprocess.run(["chroot", self.path, *command], check=True, **options)

    def start(self, *command, **options):
        return subprocess.Popen(["chroot", self.path, *command], start_new_session=True, **options)

    def add_user(self, name):
        known = (self.path / "etc/passwd").read_text()
        if f"\n{name}:" not in known:
            self.run("useradd", "--system", "--no-create-home", "--user-group", name,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def write(self, path, text, mode=0o644):
        target = self.path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def install(self, chain, key):
        """A certificate and its key, readable to whoever the server is by then."""
        for source, target in ((chain, INSTALLED_CHAIN), (key, INSTALLED_KEY)):
            self.write(target, pathlib.Path(source).read_text())

    def close(self):
        for name in (*self.bound, ""):
            subprocess.run(["umount", "-l", self.path / name], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def stop_process(process, how=signal.SIGTERM):
    """Ends a process that we started, and waits for it."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


class Postfix:
    """Postfix on a loopback port: takes mail for `domain` into Maildirs, sends what is for the
    domains of `routes` ({domain: port}; "*": all others) to 127.0.0.1. certificate: (chain, key)."""

    def __init__(self, routes=None, extra="", join=None, host="127.0.0.1", port=None,
                 domain="peer.test", certificate=None):
        self.root = Root("postfix")
        self.host, self.port = host, port or free_port()
        if certificate:
            self.root.install(*certificate)
            extra += ("\nsmtpd_tls_security_level = may\nsmtpd_tls_loglevel = 1\n"
                      f"smtpd_tls_chain_files = {INSTALLED_KEY}, {INSTALLED_CHAIN}\n")
        self.root.add_user("postfix")
        if "\npostdrop:" not in (self.root.path / "etc/group").read_text():
            self.root.run("groupadd", "--system", "postdrop")
        passwd = (self.root.path / "etc/passwd").read_text()
        uid, gid = next(line.split(":")[2:4] for line in passwd.splitlines()
                        if line.startswith("postfix:"))
        self.maildirs = self.root.path / "var/maildirs"
        self.maildirs.mkdir(parents=True)
        os.chown(self.maildirs, int(uid), int(gid))
        for name in ("var/spool/postfix", "var/lib/postfix"):
            (self.root.path / name).mkdir(parents=True, exist_ok=True)
        os.chown(self.root.path / "var/lib/postfix", int(uid), int(gid))
        transports = "".join(f"{domain} smtp:[127.0.0.1]:{port}\n"
                             for domain, port in (routes or {}).items())
        self.root.write("/etc/postfix/transport", transports)
        self.root.write("/etc/postfix/main.cf", f"""
compatibility_level = 3.6
myhostname = postfix.peer.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = {domain}
virtual_mailbox_base = /var/maildirs
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
mailbox_size_limit = 0
virtual_mailbox_limit = 0
transport_maps = texthash:/etc/postfix/transport
smtp_tls_security_level = may
smtp_dns_support_level = disabled
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 200
maillog_file = /var/log/postfix.log
maillog_file_prefixes = /var
{extra}
""")
        master = (self.root.path / "usr/share/postfix/master.cf.dist").read_text()
        lines = [line for line in master.splitlines() if line and not line.startswith("#")]
        service = [f"{host}:{self.port} inet n - n - - smtpd"]
        for line in lines:
            words = line.split()
            if line[0].isspace() or words[0] == "smtp" and words[1] == "inet":
                continue
            if len(words) > 4 and words[4] == "y":
                words[4] = "n"
            service.append(" ".join(words))
        service.append("postlog unix-dgram n - n - 1 postlogd")
        self.root.write("/etc/postfix/master.cf", "\n".join(service) + "\n")
        self.set_permissions(int(uid))
        self.process = self.root.start("/usr/sbin/postfix", "start-fg", stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, preexec_fn=join)
        wait_for_port(self.port, self.process, host=host)

    def set_permissions(self, uid):
        """What `postfix set-permissions` would do, for the few files that are here."""
        self.root.run("chgrp", "postdrop", "/usr/sbin/postqueue", "/usr/sbin/postdrop")
        self.root.run("chmod", "2755", "/usr/sbin/postqueue", "/usr/sbin/postdrop")
        spool = self.root.path / "var/spool/postfix"
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold",
                     "incoming", "private", "saved", "trace"):
            (spool / name).mkdir(mode=0o700, exist_ok=True)
            os.chown(spool / name, uid, 0)
        for name in ("maildrop", "public"):
            (spool / name).mkdir(exist_ok=True)
            self.root.run("chown", "postfix:postdrop", f"/var/spool/postfix/{name}")
        self.root.run("chmod", "1730", "/var/spool/postfix/maildrop")
        self.root.run("chmod", "2710", "/var/spool/postfix/public")
        (spool / "pid").mkdir(exist_ok=True)

    def delivered(self):
        """Paths of the messages in the Maildirs."""
        return list(self.maildirs.glob("*/new/*"))

    def queued(self):
        """How many messages wait in its queue."""
        spool = self.root.path / "var/spool/postfix"
        return sum(1 for name in ("maildrop", "incoming", "active", "deferred")
                   for path in (spool / name).rglob("*") if path.is_file())

    def log(self):
        path = self.root.path / "var/log/postfix.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        # `postfix start-fg` waits for the master, which does not end with it.
        pid_file = self.root.path / "var/spool/postfix/pid/master.pid"
        if self.process.poll() is None and pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
            self.process.wait(20)
        stop_process(self.process)
        self.root.close()


class Exim:
    """Exim on a loopback port: relays what is for the domains of `routes` ({domain: port}; "*": all)
    to 127.0.0.1, takes what is for `domain` into a Maildir. certificate: (chain, key). auth: (login,
    password) that a client must show."""

    def __init__(self, routes=None, host="127.0.0.1", port=None, domain="exim.test",
                 certificate=None, auth=None, join=None, extra=""):
        self.root = Root("exim4-base", "exim4-config", "exim4-daemon-light", "libgnutls-dane0")
        self.host, self.port = host, port or free_port()
        self.root.add_user("Debian-exim")
        self.maildirs = self.root.path / "var/maildirs"
        tls = "tls_advertise_hosts ="
        if certificate:
            self.root.install(*certificate)
            tls = (f"tls_advertise_hosts = *\ntls_certificate = {INSTALLED_CHAIN}\n"
                   f"tls_privatekey = {INSTALLED_KEY}")
        self.root.write("/etc/exim4/test.conf", f"""
primary_hostname = exim.peer.test
exim_user = Debian-exim
exim_group = Debian-exim
daemon_smtp_ports = {self.port}
local_interfaces = {host}
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
acl_smtp_rcpt = accept_all
acl_smtp_data = accept_all
acl_smtp_mail = {"authenticated" if auth else "accept_all"}
hostlist relay_from_hosts = 127.0.0.0/8
{tls}
dsn_advertise_hosts = *
smtp_accept_max = 0
smtp_accept_queue = 0
smtp_accept_queue_per_connection = 0
remote_max_parallel = 20
queue_run_max = 20
keep_environment =
{extra}
begin acl
accept_all:
  accept
authenticated:
  accept authenticated = *
  deny message = authentication is needed
begin routers
{self._routers(routes or {})}
here:
  driver = accept
  domains = {"*" if auth else domain}
  transport = maildir
begin transports
{self._transports(routes or {})}
maildir:
  driver = appendfile
  directory = /var/maildirs/box
  maildir_format
  create_directory
  user = Debian-exim
  delivery_date_add
  envelope_to_add
  return_path_add
begin authenticators
{self._authenticators(auth)}
begin retry
* * F,1h,1s
""")
        for name in ("var/spool/exim4", "var/log/exim4", "var/maildirs"):
            (self.root.path / name).mkdir(parents=True, exist_ok=True)
            self.root.run("chown", "Debian-exim:Debian-exim", f"/{name}")
        self.process = self.root.start("/usr/sbin/exim4", "-C", "/etc/exim4/test.conf", "-bdf",
                                       "-q1m", stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, preexec_fn=join)
        wait_for_port(self.port, self.process, host=host)

    @staticmethod
    def _routers(routes):
        return "".join(f"""
to_{port}:
  driver = manualroute
  domains = {domain}
  transport = smtp_{port}
  route_list = * 127.0.0.1
  self = send
""" for domain, port in routes.items())

    @staticmethod
    def _transports(routes):
        return "".join(f"""
smtp_{port}:
  driver = smtp
  port = {port}
  allow_localhost
  hosts_try_fastopen =
  tls_tempfail_tryclear = true
""" for port in routes.values())

    @staticmethod
    def _authenticators(auth):
        if not auth:
            return ""
        login, password = auth
        return f"""
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{login}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""

    def delivered(self):
        return list(self.maildirs.glob("*/new/*"))

    def log(self):
        path = self.root.path / "var/log/exim4/mainlog"
        return path.read_text(errors="replace") if path.exists() else ""

    def queued(self):
        """How many messages wait in its queue."""
        spool = self.root.path / "var/spool/exim4/input"
        return sum(1 for path in spool.rglob("*-H"))

    def close(self):
        stop_process(self.process)
        self.root.close()


class OpenSmtpd:
    """OpenSMTPD on a loopback port, in clear (Debian's 6.8 fails every TLS handshake with OpenSSL 3):
    takes what is for `domain` into a Maildir; relays all else to 127.0.0.1 at port `relay`."""

    def __init__(self, host="127.0.0.1", port=None, domain="opensmtpd.test", relay=None, join=None):
        self.root = Root("opensmtpd")
        self.host, self.port = host, port or free_port()
        for name in ("opensmtpd", "opensmtpq", "box"):
            self.root.add_user(name)
        self.maildirs = self.root.path / "var/maildirs"
        self.maildirs.mkdir(parents=True)
        self.root.run("chown", "box:box", "/var/maildirs")
        for folder in ("var/spool/smtpd", "var/lib/opensmtpd/empty", "run"):
            (self.root.path / folder).mkdir(parents=True, exist_ok=True)
        (self.root.path / "var/spool/smtpd").chmod(0o711)
        self.root.write("/etc/mailname", "opensmtpd.peer.test\n")
        rules = f'match from any for domain "{domain}" action "box"\n'
        if relay:
            rules += (f'action "relay" relay host smtp://127.0.0.1:{relay}\n'
                      'match from any for any action "relay"\n')
        self.root.write("/etc/smtpd.conf", f"""
table boxes {{ "@" = "box" }}
smtp max-message-size 100M
listen on {host} port {self.port} hostname opensmtpd.peer.test
action "box" maildir "/var/maildirs/box" virtual <boxes>
{rules}""")
        self.log_file = open(self.root.folder / "log", "wb")
        self.process = self.root.start("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf",
                                       stdout=self.log_file, stderr=subprocess.STDOUT,
                                       preexec_fn=join)
        try:
            wait_for_port(self.port, self.process, host=host)
        except RuntimeError as error:
            raise RuntimeError(self.log()) from error

    def delivered(self):
        return list(self.maildirs.glob("*/new/*"))

    def log(self):
        return (self.root.folder / "log").read_text(errors="replace")

    def queued(self):
        """How many messages wait in its queue."""
        spool = self.root.path / "var/spool/smtpd/queue"
        return sum(1 for path in spool.glob("*/*"))

    def close(self):
        stop_process(self.process)
        self.log_file.close()
        self.root.close()
