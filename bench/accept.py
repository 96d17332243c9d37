#!/usr/bin/python3
"""Durable accept-and-deliver, Postern beside Postfix, in interleaved rounds.

    bench/accept.py [--seconds 60] [--rounds 3] [--sessions 1,16,64] [--sizes 4096,65536]

Each round starts the server on an empty store, sends distinct messages over SMTP in closed loops
(bench/smtp_load.c), waits until every accepted message has been delivered, and reads the CPU time
of all the server's processes from its control group. After each round of Postern comes the bound
(build/store_bound): the same schema and statements without network, in batches as large as the
server's were. Postfix's syncs are counted under strace in a short run of their own.
Prints a row a round, then medians and ratios.
Needs to be root (control groups; Postfix is unpacked into a root of its own)."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
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

BUILD = HERE.parent / "build"
POSTERN = os.environ.get("POSTERN", str(HERE.parent / "build" / "postern"))


class PosternServer:
    name = "postern"
    recipient = "alice@demo.test"

    def __init__(self, group):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postern-bench-"))
        self.folder.chmod(0o755)
        base = peers.free_port_base()
        self.port, self.metrics_port = base + 25, base + 100
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
        return self.numbers()["postern_vault_syncs_total"]

    def commits(self):
        return self.numbers()["postern_vault_commits_total"]

    def compression(self):
        """What the bodies take in the store, as a share of what they are."""
        store = sqlite3.connect(f"file:{self.folder}/demo/store/postern.db?mode=ro", uri=True)
        with store:
            stored, plain = store.execute(
                "SELECT sum(length(data)), sum(plain_size) FROM "
                "(SELECT data, plain_size FROM chunk LIMIT 2000)").fetchone()
        store.close()
        return stored / plain

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

    def wait_delivered(self, count):
        new = self.peer.maildirs / "box" / "new"
        while len(os.listdir(new)) < count:
            time.sleep(0.05)

    def close(self):
        self.peer.close()


def send(server, sessions, size, seconds):
    run = subprocess.run([str(BUILD / "smtp_load"), "127.0.0.1", str(server.port), str(sessions),
                          str(size), str(seconds), "100000000", server.recipient],
                         capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"smtp_load: {run.stderr} {run.stdout}\n{server.log_tail()}")
    load = json.loads(run.stdout)
    server.wait_delivered(load["accepted"])
    return load


def one_round(server_class, sessions, size, seconds):
    group = cgroup.Cgroup()
    server = server_class(group)
    is_postern = server_class is PosternServer
    try:
        if is_postern:
            syncs, commits = server.syncs(), server.commits()
        cpu, start = group.cpu_seconds(), time.monotonic()
        load = send(server, sessions, size, seconds)
        took = time.monotonic() - start
        count = load["accepted"]
        row = {"server": server.name, "sessions": sessions, "size": size, "messages": count,
               "rate": count / took, "cpu_s_per_1000": (group.cpu_seconds() - cpu) / count * 1000,
               "p50_ms": load["p50_us"] / 1000, "p99_ms": load["p99_us"] / 1000}
        if is_postern:
            row["syncs"] = (server.syncs() - syncs) / count
            row["batch"] = count / (server.commits() - commits)
            row["compression"] = server.compression()
        return row
    finally:
        server.close()
        group.close()


def bound(row, seconds):
    """The store alone, in batches as large as those of this row."""
    batch = max(1, round(row["batch"]))
    with tempfile.TemporaryDirectory(prefix="postern-bench-") as folder:
        run = subprocess.run([str(BUILD / "store_bound"), str(seconds), folder, str(row["size"]),
                              str(batch)], capture_output=True, text=True, check=True)
    found = re.search(r"([0-9.]+) messages/s, ([0-9.]+) CPU s per 1,000, ([0-9.]+) syncs",
                      run.stdout)
    rate, cpu, syncs = map(float, found.groups())
    return {"server": "bound", "sessions": row["sessions"], "size": row["size"], "batch": batch,
            "rate": rate, "cpu_s_per_1000": cpu, "syncs": syncs,
            "messages": round(rate * seconds)}


def postfix_syncs(sessions, size, seconds):
    """Syncs a message of all of Postfix's processes, under strace: its rate is not to be used."""
    group = cgroup.Cgroup()
    server = PostfixServer(group)
    try:
        with tempfile.NamedTemporaryFile(prefix="postern-bench-") as counts:
            command = ["strace", "-f", "-c", "-o", counts.name, "-e",
                       "trace=fsync,fdatasync,sync_file_range,syncfs,sync"]
            for pid in group.pids():
                command += ["-p", str(pid)]
            tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            time.sleep(0.5)  # strace does not tell when it has attached to all
            load = send(server, sessions, size, seconds)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
            rows = [line.split() for line in pathlib.Path(counts.name).read_text().splitlines()]
        calls = sum(int(row[3]) for row in rows if "sync" in row[-1])
        return calls / load["accepted"]
    finally:
        server.close()
        group.close()


def print_row(row):
    line = (f"{row['server']:8} {row['sessions']:4} sessions {row['size']:6} octets "
            f"{row['rate']:9.1f}/s {row['cpu_s_per_1000']:8.3f} CPU s/1000")
    if "syncs" in row:
        line += f" {row['syncs']:6.3f} syncs/msg"
    if "p50_ms" in row:
        line += f" p50 {row['p50_ms']:7.2f} ms p99 {row['p99_ms']:7.2f} ms"
    if "batch" in row:
        line += f" {row['batch']:5.1f} messages a commit"
    if "compression" in row:
        line += f", bodies stored in {row['compression']:.0%}"
    print(f"{line} ({row['messages']} messages)", flush=True)


def compare(rows):
    def median(server, sessions, size, field):
        return statistics.median(r[field] for r in rows if r["server"] == server and
                                 r["sessions"] == sessions and r["size"] == size)
    print("\nmedians: Postern / Postfix")
    for sessions, size in sorted({(r["sessions"], r["size"]) for r in rows}):
        key = (sessions, size)
        rate = median("postern", *key, "rate") / median("postfix", *key, "rate")
        cpu = median("postfix", *key, "cpu_s_per_1000") / median("postern", *key, "cpu_s_per_1000")
        share = median("postern", *key, "rate") / median("bound", *key, "rate")
        print(f"  {sessions:4} sessions {size:6} octets: {rate:6.2f} times the rate, "
              f"1/{cpu:.1f} of the CPU a message, {share:.0%} of the bound")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", default="1,16,64")
    parser.add_argument("--sizes", default="4096,65536")
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--strace-seconds", type=int, default=5, help="0: count no syncs of Postfix")
    args = parser.parse_args()
    rows = []
    for size in map(int, args.sizes.split(",")):
        for sessions in map(int, args.sessions.split(",")):
            for _ in range(args.rounds):
                rows.append(one_round(PosternServer, sessions, size, args.seconds))
                print_row(rows[-1])
                rows.append(bound(rows[-1], max(1, args.seconds // 4)))
                print_row(rows[-1])
                rows.append(one_round(PostfixServer, sessions, size, args.seconds))
                print_row(rows[-1])
            if args.strace_seconds > 0:
                syncs = postfix_syncs(sessions, size, args.strace_seconds)
                print(f"postfix  {sessions:4} sessions {size:6} octets: {syncs:.2f} syncs a message",
                      flush=True)
    compare(rows)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
