"""A web server for MTA-STS policies (RFC 8461): nginx on a loopback address, a certificate for each
domain.

    with Https("127.0.0.9", 8443) as web:
        web.serve("example.test", policy_text, certificate=(chain, key))
"""

import ssl
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import peers

WAIT_S = 20


class Https:
    def __init__(self, host, port):
        self.home = tempfile.TemporaryDirectory(prefix="postern-https-")
        self.folder = Path(self.home.name)
        self.folder.chmod(0o755)
        self.host, self.port = host, port
        self.servers = {}
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def serve(self, domain, policy, certificate, inside="", name=None):
        """The policy of the domain; inside: more lines for nginx about that place."""
        name = name or f"mta-sts.{domain}"
        root = self.folder / name
        (root / ".well-known").mkdir(parents=True, exist_ok=True)
        (root / ".well-known/mta-sts.txt").write_text(policy)
        chain, key = certificate
        self.servers[name] = f"""
  server {{
    listen {self.host}:{self.port} ssl;
    server_name {name};
    ssl_certificate {chain};
    ssl_certificate_key {key};
    root {root};
    access_log {self.folder}/{name}.log;
    location / {{ {inside} }}
  }}"""
        self._apply(name)

    def fetches(self, domain):
        """The lines that the web server's log has for this domain."""
        path = self.folder / f"mta-sts.{domain}.log"
        return path.read_text().splitlines() if path.exists() else []

    def _apply(self, name):
        config = self.folder / "nginx.conf"
        config.write_text(f"""
daemon off;
user root;
worker_processes 1;
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log info;
events {{}}
http {{
  types {{ text/plain txt; }}
  client_body_temp_path {self.folder}/body;
  proxy_temp_path {self.folder}/proxy;
  fastcgi_temp_path {self.folder}/fastcgi;
  uwsgi_temp_path {self.folder}/uwsgi;
  scgi_temp_path {self.folder}/scgi;
{"".join(self.servers.values())}
}}
""")
        if self.process is not None:
            peers.stop_process(self.process)  # at a reload old workers would go on for a moment
        nginx = peers.unpacked("nginx")
        self.process = subprocess.Popen([nginx / "usr/sbin/nginx", "-c", config, "-p", self.folder],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        self._wait_until_served(name)

    def _wait_until_served(self, name):
        """Until it shows the new name's own certificate."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        chain = self.servers[name].split("ssl_certificate ")[1].partition(";")[0]
        wanted = ssl.PEM_cert_to_DER_cert(Path(chain).read_text().partition("\n-----END")[0] +
                                          "\n-----END CERTIFICATE-----\n")
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                with socket.create_connection((self.host, self.port), 2) as plain, \
                        context.wrap_socket(plain, server_hostname=name) as conn:
                    if conn.getpeercert(True) == wanted:
                        return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("nginx does not serve:\n" +
                                   (self.folder / "error.log").read_text(errors="replace"))
            time.sleep(0.01)

    def close(self):
        if self.process is not None:
            peers.stop_process(self.process)
        self.home.cleanup()
