#!/usr/bin/python3
"""Durable accept-and-deliver, Postern beside Postfix, in interleaved rounds.

    bench/accept.py [--seconds 60] [--rounds 3] [--sessions 1,16,64] [--sizes 4096,65536]

Each round starts the server on an empty store, sends distinct messages over SMTP in closed loops
(bench/smtp_load.c), waits until every accepted message has been delivered, and reads the CPU time
of all the server's processes from its control group. Prints a row a round, then medians and ratios.
Needs to be root (control groups; Postfix is unpacked into a root of its own)."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
import peers  # noqa: E402
import cgroup  # noqa: E402

POSTERN = os.environ.get("POSTERN", str(HERE.parent / "build" / "postern"))


class PosternServer:
    name = "postern"
    recipient = "alice@demo.test"

    def __init__(self, group):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postern-bench-"))
        self.folder.chmod(0o755)
        base = peers.free_port_base()
        self.port, self.metrics_port = base + 25, base + 9100
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [POSTERN, "demo", str(self.folder / "demo"), "--base", str(base),
             "--user", "alice:secret-of-alice"],
            stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=group.join)
        for line in self.process.stdout:
            if line.startswith("ready"):
                return
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])

    def numbers(self):
        """All metrics without labels, by name."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics").read()
        rows = [line.rsplit(" ", 1) for line in text.decode().splitlines()
                if line and line[0] != "#"]
        return {name: float(value) for name, value in rows}

    def log_tail(self):
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def syncs(self):
        return self.numbers().get("postern_vault_commits_total", 0)

    def wait_delivered(self, count):
        """Accepting is delivering: nothing is left to be done behind the 250."""

    def close(self):
        peers.stop_process(self.process)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostfixServer:
    name = "postfix"
    recipient = "box@peer.test"

    def __init__(self, group):
        self.peer = peers.Postfix(join=group.join)
        self.port = self.peer.port

    def log_tail(self):
        return self.peer.log()[-3000:]

    def syncs(self):
        return 0

    def wait_delivered(self, count):
        new = self.peer.maildirs / "box" / "new"
        while len(os.listdir(new)) < count:
            time.sleep(0.05)

    def close(self):
        self.peer.close()


def one_round(server_class, sessions, size, seconds):
    group = cgroup.Cgroup()
    server = server_class(group)
    try:
        syncs, cpu, start = server.syncs(), group.cpu_seconds(), time.monotonic()
        run = subprocess.run([str(HERE.parent / "build" / "smtp_load"), "127.0.0.1",
                              str(server.port), str(sessions), str(size), str(seconds),
                              "100000000", server.recipient], capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"smtp_load: {run.stderr} {run.stdout}\n{server.log_tail()}")
        load = json.loads(run.stdout)
        server.wait_delivered(load["accepted"])
        took = time.monotonic() - start
        count = load["accepted"]
        return {"server": server.name, "sessions": sessions, "size": size, "messages": count,
                "rate": count / took, "cpu_s_per_1000": (group.cpu_seconds() - cpu) / count * 1000,
                "syncs": (server.syncs() - syncs) / count, "p50_ms": load["p50_us"] / 1000,
                "p99_ms": load["p99_us"] / 1000}
    finally:
        server.close()
        group.close()


def print_row(row):
    print(f"{row['server']:8} {row['sessions']:4} sessions {row['size']:6} octets "
          f"{row['rate']:9.1f}/s {row['cpu_s_per_1000']:8.3f} CPU s/1000 "
          f"{row['syncs']:6.3f} syncs/msg p50 {row['p50_ms']:7.2f} ms p99 {row['p99_ms']:7.2f} ms "
          f"({row['messages']} messages)", flush=True)


def compare(rows):
    def median(server, sessions, size, field):
        return statistics.median(r[field] for r in rows if r["server"] == server and
                                 r["sessions"] == sessions and r["size"] == size)
    print("\nmedians: Postern / Postfix")
    for sessions, size in sorted({(r["sessions"], r["size"]) for r in rows}):
        key = (sessions, size)
        rate = median("postern", *key, "rate") / median("postfix", *key, "rate")
        cpu = median("postfix", *key, "cpu_s_per_1000") / median("postern", *key, "cpu_s_per_1000")
        print(f"  {sessions:4} sessions {size:6} octets: {rate:6.2f} times the rate, "
              f"1/{cpu:.1f} of the CPU a message")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", default="1,16,64")
    parser.add_argument("--sizes", default="4096,65536")
    parser.add_argument("--json", help="also write the rows to this file")
    args = parser.parse_args()
    rows = []
    for size in map(int, args.sizes.split(",")):
        for sessions in map(int, args.sessions.split(",")):
            for _ in range(args.rounds):
                for server in (PosternServer, PostfixServer):
                    rows.append(one_round(server, sessions, size, args.seconds))
                    print_row(rows[-1])
    compare(rows)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
