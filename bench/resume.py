#!/usr/bin/python3
"""What resuming TLS sessions saves the courier: messages that go over a connection each, to a server
with tickets and to one without. CPU of the courier alone, its peer is Python.

    bench/resume.py [--messages 1000]"""

import argparse
import os
import pathlib
import ssl
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
import authority  # noqa: E402
import processes  # noqa: E402
import relay  # noqa: E402


def cpu_ms(pid):
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def measure(messages, tickets):
    one_each = {"messages-per-connection": 1, "connections-per-destination": 1}
    with relay.Lab(outbound=one_each) as lab:
        context = authority.server_context(lab.authority.issue("mx1.d1.test"))
        if not tickets:
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        with lab.peer(tls=context) as host:
            domain = lab.domain(host)
            lab.wait_gone(lab.send(f"first@{domain}"))
            pid = processes.roles(lab.server)["courier"]
            before = cpu_ms(pid)
            for n in range(messages):
                lab.send(f"bob-{n}@{domain}")
            host.wait_for_messages(messages + 1, 600)
            resumed = sum(session.is_resumed for session in host.sessions)
            return (cpu_ms(pid) - before) / messages, resumed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=1000)
    messages = parser.parse_args().messages
    for tickets in (False, True):
        ms, resumed = measure(messages, tickets)
        print(f"{'resumed' if tickets else 'whole handshakes'}: {ms:.2f} ms CPU a message and "
              f"connection, {resumed} of {messages} resumed")


main()
