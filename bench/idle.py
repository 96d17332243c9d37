#!/usr/bin/python3
"""Memory of idle connections: user and kernel memory of all the server's processes, from its control
group, with and without 1,000 connections that have said EHLO (and done TLS) and then fall silent.

    bench/idle.py [--count 1000]"""

import argparse
import pathlib
import socket
import ssl
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "tests"))
import accept  # noqa: E402
import cgroup  # noqa: E402


def settled(group):
    """The memory once it has stopped changing."""
    last = -1
    while abs(group.memory_bytes() - last) > 65536:
        last = group.memory_bytes()
        time.sleep(0.5)
    return group.memory_bytes()


def read_reply(conn):
    data = b""
    while True:
        data += conn.recv(4096)
        lines = data.split(b"\r\n")
        if len(lines) > 1 and lines[-1] == b"" and lines[-2][3:4] == b" ":
            return data


def connect(port, tls):
    conn = socket.create_connection(("127.0.0.1", port))
    if tls:
        conn = tls.wrap_socket(conn)
    read_reply(conn)
    conn.sendall(b"EHLO idle.test\r\n")
    read_reply(conn)
    return conn


def measure(name, count, tls):
    group = cgroup.Cgroup()
    server = accept.PosternServer(group)
    try:
        port = server.port + (440 if tls else 0)
        warm = [connect(port, tls) for _ in range(50)]
        for conn in warm:
            conn.close()
        before = settled(group)
        conns = [connect(port, tls) for _ in range(count)]
        after = settled(group)
        print(f"{name}: {(after - before) / count / 1024:.1f} KiB an idle connection "
              f"({count} connections, {before / 1048576:.1f} MiB without them)", flush=True)
        for conn in conns:
            conn.close()
    finally:
        server.close()
        group.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    measure("clear", args.count, None)
    measure("TLS", args.count, tls)


if __name__ == "__main__":
    main()
