"""A certification authority of the test's own, and the certificates that it issues."""

import ssl
import subprocess
import tempfile
from pathlib import Path

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def server_context(certificate):
    """For a server of Python's with this (chain, key)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


class Authority:
    def __init__(self):
        self.home = tempfile.TemporaryDirectory(prefix="postern-authority-")
        self.folder = Path(self.home.name)
        self.folder.chmod(0o755)
        self.file, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        self.count = 0
        _openssl("req", "-x509", *NEW_KEY, "-subj", "/CN=The tests' authority", "-keyout", self.key,
                 "-out", self.file)

    def issue(self, *names):
        """Paths (chain, key) of a new certificate that this authority vouches for."""
        chain, key = self._paths()
        _openssl("req", "-x509", *NEW_KEY, "-CA", self.file, "-CAkey", self.key, "-subj",
                 f"/CN={names[0]}", "-addext", "basicConstraints=critical,CA:FALSE", "-addext",
                 "subjectAltName=" + ",".join(f"DNS:{name}" for name in names), "-keyout", key,
                 "-out", chain)
        return chain, key

    def self_made(self, name):
        """One that nobody vouches for."""
        chain, key = self._paths()
        _openssl("req", "-x509", *NEW_KEY, "-subj", f"/CN={name}", "-addext",
                 f"subjectAltName=DNS:{name}", "-keyout", key, "-out", chain)
        return chain, key

    def _paths(self):
        self.count += 1
        return self.folder / f"{self.count}.pem", self.folder / f"{self.count}.key"

    def close(self):
        self.home.cleanup()
