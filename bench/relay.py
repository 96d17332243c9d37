#!/usr/bin/python3
"""Relaying (in, queue, out to a sink), Postern beside Postfix, Exim and OpenSMTPD, in interleaved
rounds.

    bench/relay.py [--seconds 20] [--rounds 3] [--sessions 1,16,64] [--size 4096]
                   [--servers postern,postfix,exim,opensmtpd] [--waiting 100000] [--json FILE]

A row is one server started with an empty queue. Distinct messages come in closed loops over SMTP
(bench/smtp_load.c), all of them for one domain whose configured next server is bench/smtp_sink.c;
the row ends when the sink has the last one, or after three times the load's time. Rate: what the
sink had, in that time. CPU: of all the server's
processes, from its control group. Then each server gets half of its own best rate, offered evenly:
the time from reading a message's 250 to the sink having it.

Last, Postern alone: so many messages for hosts that are dead (half of them refuse connections, half
accept them and say nothing) are waiting; how long a restart takes until mail is accepted, what
memory all roles take (PSS), and what mail for a live host waits, with an empty queue and with that.
Needs to be root (control groups; the others are unpacked into roots of their own)."""

import argparse
import json
import os
import pathlib
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
import cgroup  # noqa: E402
import dns  # noqa: E402
import mail  # noqa: E402
import peer  # noqa: E402
import peers  # noqa: E402
import processes  # noqa: E402
import relay  # noqa: E402
import served  # noqa: E402
from sink import Sink  # noqa: E402

BUILD = pathlib.Path(os.environ.get("POSTERN", HERE.parent / "build" / "postern")).parent
RECIPIENT = "box@sink.test"
LIVE_RATE = 200


class Postern:
    name = "postern"

    def __init__(self, group, sink):
        self.server = served.Served(limits="connections-per-address 5000\nconnection-rate 1000000",
                                    extra=ALL_TO_SINK.format(port=sink.port), join=group.join)
        self.server.start()
        self.port = self.server.port("smtp")

    def log(self):
        return self.server.log()

    def close(self):
        self.server.__exit__()


ALL_TO_SINK = """
trust 127.0.0.0/8
relay-from 127.0.0.0/8
outbound {{
    recipients-per-day 0
}}
route sink {{
    domains *
    to 127.0.0.1:{port}
}}
"""


class Other:
    """One of the other programs."""

    def __init__(self, name, group, sink):
        self.name = name
        if name == "postfix":
            self.peer = peers.Postfix(routes={"*": sink.port}, join=group.join)
        elif name == "exim":
            self.peer = peers.Exim({"*": sink.port}, join=group.join)
        else:
            self.peer = peers.OpenSmtpd(relay=sink.port, join=group.join)
        self.port = self.peer.port

    def log(self):
        return self.peer.log()

    def close(self):
        self.peer.close()


def start(name, group, sink):
    return Postern(group, sink) if name == "postern" else Other(name, group, sink)


def load(server, sessions, size, seconds, rate=0, count=100_000_000, recipient=RECIPIENT):
    """Runs smtp_load; its result, and {Message-ID: microseconds} of each 250."""
    with tempfile.NamedTemporaryFile(prefix="postern-load-") as log:
        run = subprocess.run([BUILD / "smtp_load", "127.0.0.1", str(server.port), str(sessions),
                              str(size), str(seconds), str(count), recipient, str(rate), log.name],
                             capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"smtp_load: {run.stderr} {run.stdout}\n{server.log()[-3000:]}")
        lines = pathlib.Path(log.name).read_text().splitlines()
    return json.loads(run.stdout), {line.split()[1]: int(line.split()[0]) for line in lines}


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def hand_over_ms(accepted, had):
    """Milliseconds from each 250 to the sink's having it. A server may hand a message over before
    its client has read the 250: that is no time at all."""
    return [max(0, had[message_id] - at) / 1000 for message_id, at in accepted.items()
            if message_id in had]


def one_round(name, sessions, size, seconds, rate=0):
    group, sink = cgroup.Cgroup(), Sink()
    server = None
    try:
        server = start(name, group, sink)
        cpu, begin_us = group.cpu_seconds(), time.monotonic_ns() // 1000
        result, accepted = load(server, sessions, size, seconds, rate)
        sink.wait_for(result["accepted"], 2 * seconds)
        cpu, had = group.cpu_seconds() - cpu, sink.times()
        count, waits = len(had), hand_over_ms(accepted, had)
        return {"server": name, "sessions": sessions, "size": size, "offered": rate,
                "messages": count, "late": result["accepted"] - count, "rate": count / ((max(had.values()) - begin_us) / 1e6),
                "cpu_s_per_1000": cpu / count * 1000,
                "p50_ms": percentile(waits, 0.5), "p99_ms": percentile(waits, 0.99)}
    finally:
        if server is not None:
            server.close()
        sink.close()
        group.close()


def print_row(row):
    offered = f" offered {row['offered']:6.0f}/s" if row["offered"] else ""
    late = f", {row['late']} still queued" if row["late"] else ""
    print(f"{row['server']:9} {row['sessions']:3} sessions {row['size']:6} octets{offered} "
          f"{row['rate']:8.1f}/s {row['cpu_s_per_1000']:7.3f} CPU s/1000, 250 to hand-over "
          f"p50 {row['p50_ms']:8.2f} ms p99 {row['p99_ms']:8.2f} ms ({row['messages']} messages"
          f"{late})", flush=True)


def median(rows, field, **which):
    return statistics.median(row[field] for row in rows
                             if all(row[key] == value for key, value in which.items()))


def compare(rows, servers, sessions):
    others = [name for name in servers if name != "postern"]
    if not others or "postern" not in servers:
        return
    print("\nmedians: Postern / the best of the others")
    for count in sessions:
        def best(field, choose, count=count):
            return choose(median(rows, field, server=name, sessions=count, offered=0)
                          for name in others)
        rate = median(rows, "rate", server="postern", sessions=count, offered=0)
        cpu = median(rows, "cpu_s_per_1000", server="postern", sessions=count, offered=0)
        print(f"  {count:3} sessions: {rate / best('rate', max):6.2f} times the rate, "
              f"1/{best('cpu_s_per_1000', min) / cpu:.1f} of the CPU a message")


# ---- Very much that waits --------------------------------------------------------------------------

WAITING = """
trust 127.0.0.0/8
relay-from 127.0.0.0/8
outbound {{
    recipients-per-day 0
    port {port}
    refuse-addresses none
    timeout 10s
}}
{resolver}
"""


class Waiting:
    """Postern with a DNS, a live host and dead ones, all on one port."""

    def __init__(self, group):
        self.dns = dns.Dns()
        port = relay.free_port()
        self.sink = Sink("127.40.0.1", port)
        self.mute = peer.Peer(host="127.40.0.2", port=port, script={"greeting": peer.HANG})
        self.dns.add("live.test. A 127.40.0.1", "*.mute.test. A 127.40.0.2",
                     "*.dead.test. A 127.40.0.3")
        self.dns.start()
        extra = WAITING.format(port=port, resolver=self.dns.resolver())
        self.server = served.Served(limits="connections-per-address 5000\nconnection-rate 1000000",
                                    extra=extra, join=group.join)
        self.server.start()
        self.port = self.server.port("smtp")

    def log(self):
        return self.server.log()

    def live_p99(self, size, seconds):
        """Milliseconds that mail for the live host takes, at an easy rate."""
        before = self.sink.count()
        result, accepted = load(self, 8, size, seconds, LIVE_RATE, recipient="box@live.test")
        self.sink.wait_for(before + result["accepted"])
        mail.wait_until(lambda: accepted.keys() <= self.sink.times().keys())
        waits = hand_over_ms(accepted, self.sink.times())
        return percentile(waits, 0.5), percentile(waits, 0.99)

    def settle(self, seconds=120):
        """Until each dead host has been tried once: from then on it is known to be dead."""
        def untried():
            store = sqlite3.connect(f"file:{self.server.folder}/store/postern.db?mode=ro", uri=True)
            try:
                return store.execute("SELECT count(*) FROM destination WHERE trouble = 0 AND "
                                     "name <> 'dns:live.test'").fetchone()[0]
            finally:
                store.close()
        mail.wait_until(lambda: untried() == 0, seconds)

    def restart(self):
        """Seconds from starting the program to a message's 250."""
        self.server.stop()
        begin = time.monotonic()
        command = [served.postern.PROGRAM, "serve", "--config", self.server.config]
        with open(self.server.log_path, "ab") as log:
            self.server.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log,
                                                   start_new_session=True,
                                                   preexec_fn=self.server.join)
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    break
            except OSError:
                time.sleep(0.001)
        load(self, 1, 1000, 10, count=1, recipient="box@live.test")
        return time.monotonic() - begin

    def pss_mib(self):
        """{role: MiB} of each process's share of memory."""
        found = {}
        for pid in processes.descendants(self.server.process.pid):
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            kib = int(next(line.split()[1] for line in rollup.splitlines()
                           if line.startswith("Pss:")))
            role = processes.role_of(pid) or "warden"
            found[role] = found.get(role, 0) + kib / 1024
        return found

    def close(self):
        self.server.__exit__()
        self.mute.close()
        self.sink.close()
        self.dns.close()


def waiting(count, size, seconds):
    group = cgroup.Cgroup()
    world = Waiting(group)
    try:
        empty = world.live_p99(size, seconds)
        load(world, 64, size, 600, count=count // 2, recipient="box@d#.dead.test")
        load(world, 64, size, 600, count=count // 2, recipient="box@d#.mute.test")
        world.settle()
        took = world.restart()
        full = world.live_p99(size, seconds)
        memory = world.pss_mib()
        print(f"{count} messages waiting for dead hosts: {took:.3f} s from the start to the first "
              f"250; all roles {sum(memory.values()):.1f} MiB "
              f"({', '.join(f'{role} {mib:.1f}' for role, mib in sorted(memory.items()))})")
        print(f"mail for a live host, {LIVE_RATE} a second: 250 to hand-over p50 {empty[0]:.2f} ms "
              f"p99 {empty[1]:.2f} ms with an empty queue, p50 {full[0]:.2f} ms p99 {full[1]:.2f} "
              f"ms with these", flush=True)
        return {"waiting": count, "restart_s": took, "pss_mib": memory, "empty_p99_ms": empty[1],
                "waiting_p99_ms": full[1]}
    finally:
        world.close()
        group.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", default="1,16,64")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--servers", default="postern,postfix,exim,opensmtpd")
    parser.add_argument("--waiting", type=int, default=100_000, help="0: leave that out")
    parser.add_argument("--json", help="also write the rows to this file")
    args = parser.parse_args()
    servers, sessions = args.servers.split(","), list(map(int, args.sessions.split(",")))
    rows = []
    for _ in range(args.rounds):
        for count in sessions:
            for name in servers:
                rows.append(one_round(name, count, args.size, args.seconds))
                print_row(rows[-1])
    for _ in range(args.rounds):
        for name in servers:
            best = max(median(rows, "rate", server=name, sessions=count, offered=0)
                       for count in sessions)
            rows.append(one_round(name, max(sessions), args.size, args.seconds, best / 2))
            print_row(rows[-1])
    compare(rows, servers, sessions)
    if args.waiting:
        rows.append(waiting(args.waiting, args.size, args.seconds))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
