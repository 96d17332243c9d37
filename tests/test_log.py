"""What the server tells of itself: its log, the steps of a message, its numbers."""

import base64
import collections
import http.client
import imaplib
import json
import re
import smtplib
import subprocess
import uuid

import pytest
from prometheus_client.openmetrics import parser

import mail
import postern
import served
import wire

ALICE = "alice@demo.test"


@pytest.fixture(scope="module")
def server():
    with served.Served(users={"alice": f"password-{uuid.uuid4()}", "bob": "builder"}) as server:
        yield server


def kept_id(reply):
    return re.fullmatch(r"250 2\.0\.0 Ok, kept as (\w+)", reply)[1]


def send(server, octets, recipients=(ALICE,)):
    with wire.Smtp(server.address("smtp")) as client:
        return kept_id(client.greet().message(octets, recipients))


def test_each_accepted_message_has_one_line_with_its_id(server):
    sizes = {}
    for size in (10, 5000, 300_000):
        octets, _ = wire.message(wire.text(size))
        sizes[send(server, octets, [ALICE, "bob@demo.test"])] = len(octets)
    for message_id, size in sizes.items():
        lines = server.wait_for_event("accepted", id=message_id)
        assert len(lines) == 1
        line = lines[0]
        assert line["from"] == "someone@elsewhere.test" and line["to"] == ALICE
        assert line["recipients"] == "2" and line["level"] == "info"
        assert line["peer"] == "127.0.0.1" and int(line["size"]) >= size


def test_every_line_is_logfmt(server):
    send(server, wire.message()[0])
    for line in server.log().splitlines():
        event = served.parse_logfmt(line)
        assert {"time", "level", "role", "event"} <= event.keys(), line


def test_a_refusal_is_told_with_its_code(server):
    with wire.Smtp(server.address("smtp")) as client:
        client.greet()
        client.command('MAIL FROM:<"odd = \\"name\\""@elsewhere.test>')
        assert client.command("RCPT TO:<nobody@demo.test>").startswith("550")
    line = server.wait_for_event("recipient-refused", to="nobody@demo.test")[-1]
    assert line["code"] == "550"
    assert line["from"] == '"odd = \\"name\\""@elsewhere.test'


def test_the_trace_of_a_message_tells_its_steps(server):
    octets, _ = wire.message()
    message_id = send(server, octets)
    words = server.run("trace", message_id)
    for part in ("someone@elsewhere.test", ALICE, "127.0.0.1", "client.elsewhere.test"):
        assert part in words, words
    steps = json.loads(server.run("trace", message_id, "--json"))
    assert [step["step"] for step in steps] == ["accepted"]
    assert ALICE in steps[0]["words"]
    missing = subprocess.run([postern.PROGRAM, "trace", "01nosuchmessage", "--config",
                              server.config], capture_output=True)
    assert missing.returncode == 3, missing


def secrets(server):
    """Every spelling of alice's password that crosses the wire."""
    password = server.users["alice"]
    plain = base64.b64encode(f"\0{ALICE}\0{password}".encode()).decode()
    return [password, base64.b64encode(password.encode()).decode(), plain]


def test_no_password_and_no_word_of_a_body_is_logged(server):
    marker = f"marker{uuid.uuid4().hex}"
    octets, message_id = wire.message(f"{marker}\r\n".encode())
    sent = send(server, octets)
    password = server.users["alice"]
    with smtplib.SMTP_SSL(*server.address("submissions"),
                          context=postern.tls_context()) as client:
        client.login(ALICE, password)
        client.sendmail(ALICE, ["bob@demo.test"], f"From: {ALICE}\r\n\r\n{marker}\r\n")
    conn = mail.imap(server)
    assert marker.encode() in mail.fetch(conn, mail.find(conn, message_id)[0])
    conn.logout()
    # A password given where it does not belong, and a wrong one, are no less secret.
    wrong = f"wrong-{uuid.uuid4()}"
    with pytest.raises(imaplib.IMAP4.error):
        imaplib.IMAP4_SSL(*server.address("imaps"),
                          ssl_context=postern.tls_context()).login(ALICE, wrong)
    with wire.Smtp(server.address("smtp")) as client:
        client.greet()
        client.command(f"AUTH PLAIN {secrets(server)[2]}")
        client.command(password)
    server.wait_for_event("accepted", id=sent)
    for secret in [marker, wrong, *secrets(server)]:
        assert secret not in server.log()


def test_json_lines_are_json():
    with served.Served(extra="log {\n    format json\n}") as server:
        with wire.Smtp(server.address("smtp")) as client:
            message_id = kept_id(client.greet().message(wire.message()[0], [ALICE]))
        mail.wait_until(lambda: message_id in server.log())
        lines = [json.loads(line) for line in server.log().splitlines() if line[:1] == "{"]
        assert any(line["event"] == "accepted" and line["id"] == message_id for line in lines)


# ---- Metrics ------------------------------------------------------------------------------------


def metrics(server):
    conn = http.client.HTTPConnection(postern.HOST, server.base + served.METRICS, timeout=20)
    conn.request("GET", "/metrics")
    response = conn.getresponse()
    assert response.status == 200
    assert response.getheader("Content-Type").startswith("application/openmetrics-text")
    text = response.read().decode()
    conn.close()
    return text


def samples(text):
    """{(name, labels): value}; raises where the text is not OpenMetrics."""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def totals(found):
    """The same, all processes of a role together."""
    sums = collections.Counter()
    for (name, labels), value in found.items():
        sums[name, tuple(label for label in labels if label[0] != "process")] += value
    return sums


def test_metrics_are_openmetrics(server):
    before = totals(samples(metrics(server)))
    for _ in range(3):
        send(server, wire.message()[0])
    after = totals(samples(metrics(server)))
    assert {name.split("_")[1] for name, _ in after} >= {"edge", "vault", "mailroom", "keeper"}
    grown = {name for name, labels in after
             if name.endswith("_total") and
             after[name, labels] >= before.get((name, labels), 0) + 3}
    assert any(name.startswith("postern_vault_") for name in grown), sorted(after)
    assert any(name.startswith("postern_edge_") for name in grown), sorted(after)
    shrunk = [name for name in after if name[0].endswith("_total") and
              after[name] < before.get(name, 0)]
    assert shrunk == []


def test_metrics_of_several_processes_are_told_apart():
    with served.Served(extra="processes edge 2\nprocesses mailroom 2") as server:
        for _ in range(4):
            send(server, wire.message()[0])
        text = metrics(server)
        found = samples(text)
        for role, name in (("edge", "postern_edge_connections_open"),
                           ("mailroom", "postern_mailroom_sessions")):
            assert {labels for sample, labels in found if sample == name} == {
                (("process", "0"),), (("process", "1"),)}, role
        assert ("postern_vault_messages_total", ()) in found
        heads = re.findall(r"^# TYPE (\S+)", text, re.M)
        assert len(heads) == len(set(heads))
