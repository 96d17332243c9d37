"""The DNS as tests want it: nsd on a loopback port, with zones that the test writes.

    with Dns() as dns:
        dns.add("example.test. MX 10 mx.example.test.", "mx.example.test. A 127.0.0.9")
        dns.publish()

The zone test. is signed, and `dns.anchor` is the file with its key; what stands below plain.test.
is not (it is delegated to the same server without a DS), and below bogus.test. the signatures are
of a key that the DS does not know. The server of deaf.test. hears everything and says nothing. No
record may be kept, nor that there is none, so that a change is seen at once.
"""

import hashlib
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import peers
import postern

ORIGINS = ("test", "plain.test", "bogus.test")
SIGNED = ("test", "bogus.test")
SOA, TLSA_START = 6, "3 1 1"
WAIT_S = 20


def tlsa(certificate):
    """The record 3 1 1 (RFC 6698, DANE-EE, the key's SHA-256) of a certificate in PEM."""
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], check=True,
                         capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True,
                         capture_output=True).stdout
    return f"{TLSA_START} {hashlib.sha256(der).hexdigest()}"


def unpacked_nsd():
    """Where it is; fetched the first time."""
    return peers.unpacked("nsd", "libfstrm0", "libprotobuf-c1")


class Dns:
    def __init__(self, host="127.0.0.1", port=None):
        self.home = tempfile.TemporaryDirectory(prefix="postern-dns-")
        self.folder = Path(self.home.name)
        self.folder.chmod(0o755)
        self.records = {origin: [] for origin in ORIGINS}
        self.serial = 0
        self.host, self.port = host, port or self._free_port()
        self.process = None
        self.deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.deaf.bind((host, 0))
        self.keys = {origin: self._make_key(origin) for origin in SIGNED}
        self.anchor = Path(f"{self.keys['test']}.key")
        self._delegate()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _free_port():
        """One that is free for UDP and TCP."""
        while True:
            port = random.randrange(24000, 32000)
            if not postern.claim(port):
                continue
            try:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue

    def _make_key(self, origin):
        made = subprocess.run(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "-r", "/dev/urandom",
                               origin], cwd=self.folder, check=True, capture_output=True, text=True)
        return self.folder / made.stdout.strip()

    def _delegate(self):
        for origin in (*ORIGINS[1:], "deaf.test"):
            self.add(f"{origin}. NS ns.test.")
        stranger = self._make_key("bogus.test")
        self.add(Path(f"{stranger}.ds").read_text().split("\n")[0].replace("\tIN", " "))

    def add(self, *records):
        """Each "name TYPE data"; names are absolute. They go into the zone that holds them: what
        delegates a zone (NS, DS) is of the one above."""
        for record in records:
            name, kind = record.split()[:2]
            above = name.partition(".")[2] if kind in ("NS", "DS") else name
            self.records[max((origin for origin in ORIGINS if f".{above}".endswith(f".{origin}.")),
                             key=len)].append(record)

    def remove(self, name):
        """All records of that name."""
        for origin, records in self.records.items():
            self.records[origin] = [r for r in records if r.split()[0] != name]

    def publish(self):
        """Writes, signs and loads the zones; returns when the server answers with them."""
        self.serial += 1
        for origin in ORIGINS:
            self._write(origin)
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)
            for origin in ORIGINS:
                self._wait_for_serial(origin)

    def _write(self, origin):
        path = self.folder / f"{origin}.zone"
        lines = [f"{origin}. 0 SOA ns.test. root.test. {self.serial} 3600 600 86400 0",
                 f"{origin}. 0 NS ns.test."]
        if origin == "test":
            lines += [f"ns.test. 0 A {self.host}"]
        path.write_text("\n".join(lines + [r.replace(" ", " 0 ", 1) for r in self.records[origin]]) + "\n")
        if origin in SIGNED:
            subprocess.run(["ldns-signzone", "-o", origin, "-f", f"{path}.signed", path,
                            self.keys[origin]], check=True, capture_output=True)
            os.replace(f"{path}.signed", path)

    def start(self):
        if not self.serial:
            self.publish()
        config = self.folder / "nsd.conf"
        zones = "".join(f"zone:\n  name: {origin}\n  zonefile: {origin}.zone\n"
                        for origin in ORIGINS)
        config.write_text(f"""
server:
  ip-address: {self.host}@{self.port}
  username: ""
  zonesdir: {self.folder}
  database: ""
  pidfile: {self.folder}/nsd.pid
  xfrdfile: {self.folder}/xfrd.state
  zonelistfile: {self.folder}/zone.list
  logfile: {self.folder}/nsd.log
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
{zones}""")
        nsd = unpacked_nsd()
        self.process = subprocess.Popen([nsd / "usr/sbin/nsd", "-d", "-c", config],
                                        env=peers.environment(nsd), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        for origin in ORIGINS:
            self._wait_for_serial(origin)
        return self

    def _wait_for_serial(self, origin):
        deadline = time.monotonic() + WAIT_S
        while self._served_serial(origin) != self.serial:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nsd does not serve {origin}:\n"
                                   f"{(self.folder / 'nsd.log').read_text()}")
            time.sleep(0.01)

    def _served_serial(self, origin):
        """The serial number in its SOA record, or None."""
        name = b"".join(bytes([len(label)]) + label.encode() for label in origin.split(".")) + b"\0"
        question = name + struct.pack(">HH", SOA, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.3)
            try:
                asker.connect((self.host, self.port))
                asker.send(struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + question)
                answer = asker.recv(4096)
            except OSError:
                return None
        found = answer.find(struct.pack(">HH", SOA, 1), 12 + len(question))
        if found < 0:
            return None
        data_size = struct.unpack_from(">H", answer, found + 8)[0]
        return struct.unpack_from(">I", answer, found + 10 + data_size - 20)[0]

    def resolver(self):
        """What the server's configuration says of it."""
        stubs = "".join(f"    stub {origin} {self.host}:{self.port}\n" for origin in ORIGINS)
        stubs += f"    stub deaf.test {self.host}:{self.deaf.getsockname()[1]}\n"
        return f"resolver {{\n{stubs}    nodefault test\n    trust-anchor {self.anchor}\n}}\n"

    def close(self):
        if self.process is not None:
            peers.stop_process(self.process)
        self.deaf.close()
        self.home.cleanup()
