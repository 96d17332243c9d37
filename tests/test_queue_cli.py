"""The queue's commands, explain and tls-report: with the server running and without."""

import datetime
import json
import resource
import sqlite3
import subprocess

import pytest

import mail
import postern
import served
import wire

OK, USAGE, NOT_FOUND = 0, 2, 3

# Nobody answers at these places, one for each test, and after the first attempt nothing happens by
# itself.
ROUTES = 40
CONFIG = """trust 127.0.0.0/8
relay-from 127.0.0.0/8
outbound {
    retry 1h
    dane no
    mta-sts no
}
route other {
    domains other.test
    to 127.0.0.1:1
}
""" + "".join(f"""route hole{n} {{
    domains hole{n}.test
    to 127.0.0.1:1
}}
""" for n in range(ROUTES))
SENDER = "someone@elsewhere.test"
domains = (f"hole{n}.test" for n in range(ROUTES))


class Queue:
    """Mail that waits, and the commands on it."""

    def __init__(self, server, running):
        self.server, self.running = server, running

    def __call__(self, *words, status=OK):
        """What the command prints; status None: whatever its exit status."""
        done = subprocess.run([postern.PROGRAM, *map(str, words), "--config", self.server.config],
                              capture_output=True, text=True, timeout=60)
        assert status in (None, done.returncode), (words, done.stdout, done.stderr)
        return done.stdout if status in (None, OK) else done.stderr

    def json(self, *words):
        return json.loads(self(*words, "--json"))

    def list(self, *words):
        return self.json("queue", "list", *words)

    def send(self, *recipients, sender=SENDER, tried=True):
        """Hands a message in, with the server that is started for it where none runs. tried: and
        waits for the attempt, which there is not where the destination was not reached just now."""
        if not self.running:
            self.server.start()
        octets, _ = wire.message()
        with wire.Smtp(self.server.address("smtp")) as client:
            client.greet()
            assert client.begin(recipients, sender).startswith("354")
            client.send(wire.stuffed(octets))
            assert client.reply().startswith("250")
        if tried:
            mail.wait_until(lambda: all(map(self._was_tried, recipients)), 30)
        if not self.running:
            self.server.stop()

    def _was_tried(self, recipient):
        rows = self.list("--recipient", recipient)
        return rows and all(row["attempts"] > 0 for row in rows)


@pytest.fixture(scope="module", params=["running", "alone"])
def queue(request):
    with served.Served(extra=CONFIG) as server:
        if request.param == "alone":
            server.stop()
        yield Queue(server, request.param == "running")


@pytest.fixture
def domain():
    return next(domains)


def route_of(domain):
    return f"route:{domain.removesuffix('.test')}"


def steady(rows):
    """Without the times that are told by the queue's clock, which is not the wall's."""
    return [{key: row[key] for key in row if key not in ("next", "expires")} for row in rows]


def test_what_waits_is_listed_and_shown(queue, domain):
    queue.send(f"bob@{domain}", f"eve@{domain}")
    rows = queue.list("--domain", domain)
    assert [row["recipient"] for row in rows] == [f"bob@{domain}", f"eve@{domain}"]
    row = rows[0]
    assert row["sender"] == SENDER and row["state"] == "waiting" and row["attempts"] == 1
    assert row["destination"] == route_of(domain) and row["last_status"].startswith("4.")
    assert row["last_words"] and row["received"] < row["next"] < row["expires"]
    assert steady(queue.json("queue", "show", row["id"])) == steady([row])
    assert steady(queue.json("queue", "show", row["trace"])) == steady(rows)
    assert f"bob@{domain}" in queue("queue", "show", row["id"])
    table = queue("queue", "list", "--domain", domain).splitlines()
    assert table[0].split()[:4] == ["ID", "TRACE", "SENDER", "RECIPIENT"] and len(table) == 3
    assert len(queue.list("--domain", domain, "--max", "1")) == 1


def test_conditions_choose(queue, domain):
    queue.send(f"bob@{domain}", sender="other@elsewhere.test")
    queue.send(f"eve@{domain}", sender="", tried=False)
    chosen = {
        ("--sender", "OTHER@elsewhere.test"): "bob",
        ("--sender", "<>"): "eve",
        ("--recipient", f"Eve@{domain}"): "eve",
        ("--younger", "1h"): "bob eve",
        ("--older", "1h"): "",
        ("--held",): "",
        ("--all",): "bob eve",
    }
    for words, names in chosen.items():
        found = [row["recipient"].partition("@")[0]
                 for row in queue.list("--domain", domain, *words)]
        assert found == names.split(), words
    trace = queue.list("--domain", domain)[1]["trace"]
    assert [row["sender"] for row in queue.list("--trace", trace)] == ["<>"]
    assert queue("queue", "list", "--domain", f"no.{domain}") == "Nothing waits.\n"


COPY = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO queue SELECT NULL, outgoing, destination, lane, due_ms, attention_ms, 1, task, attempts,
    notify, noticed, last_ms, recipient, orcpt, last_status, last_words, last_remote
    FROM queue, n WHERE id = ?"""
MANY, MEMORY = 40_000, 64 << 20


@pytest.mark.not_under_san  # which wants all the address space there is
@pytest.mark.parametrize("shape", [["list", "--json"], ["list"], ["show", "--json"]])
def test_a_long_queue_takes_little_memory(queue, domain, shape):
    queue.send(f"bob@{domain}")
    row, = queue.list("--domain", domain)
    words = ["queue", *shape, row["trace"], "--config", queue.server.config]
    if shape[0] == "list":
        words += ["--max", str(2 * MANY)]
    store = sqlite3.connect(queue.server.folder / "store" / "postern.db", timeout=30)
    with store:
        store.execute(COPY, (MANY, row["id"]))
        store.execute("UPDATE counter SET waiting = waiting + ?, held = held + ?", (MANY, MANY))
    store.close()
    done = subprocess.run([postern.PROGRAM, *words], capture_output=True, timeout=60, preexec_fn=(
        lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))))
    queue("queue", "remove", row["trace"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"bob@{domain}".encode()) == MANY + 1
    if "--json" in shape:
        assert len(json.loads(done.stdout)) == MANY + 1


def test_held_rows_wait_until_they_are_released(queue, domain):
    queue.send(f"bob@{domain}", f"eve@{domain}")
    first = queue.list("--domain", domain)[0]["id"]
    assert queue("queue", "hold", first) == "1 recipient held\n"
    rows = queue.list("--domain", domain)
    assert [row["state"] for row in rows] == ["held", "waiting"] and rows[0]["next"] is None
    assert [row["id"] for row in queue.list("--held", "--domain", domain)] == [first]
    status = json.loads(queue("status", "--json", status=OK if queue.running else None))
    assert status["held"] == 1 and status["waiting"] >= 2
    queue("queue", "hold", first, status=NOT_FOUND)
    assert queue("queue", "release", "--domain", domain) == "1 recipient released\n"
    assert not queue.list("--held", "--domain", domain)


def test_removed_rows_are_gone(queue, domain):
    queue.send(f"bob@{domain}", f"eve@{domain}")
    trace = queue.list("--domain", domain)[0]["trace"]
    assert queue("queue", "remove", "--recipient", f"bob@{domain}") == "1 recipient removed\n"
    assert [row["recipient"] for row in queue.list("--domain", domain)] == [f"eve@{domain}"]
    assert queue("queue", "remove", trace) == "1 recipient removed\n"
    assert not queue.list("--domain", domain)
    steps = [step["step"] for step in queue.json("trace", trace)]
    assert steps.count("removed") == 2
    queue("queue", "show", trace, status=NOT_FOUND)


def test_every_attempt_is_in_the_trace(queue, domain):
    queue.send(f"bob@{domain}")
    row = queue.list("--domain", domain)[0]
    attempts = [step for step in queue.json("trace", row["trace"]) if step["step"] == "deferred"]
    assert len(attempts) == 1
    assert f"bob@{domain}" in attempts[0]["words"] and "127.0.0.1" in attempts[0]["words"]


def report_about(server, recipient):
    """A message in alice's mailbox that speaks of the recipient; None where there is none."""
    with mail.imap(server) as inbox:
        inbox.select("INBOX", readonly=True)
        _, data = inbox.uid("SEARCH", "TEXT", recipient)
        uids = data[0].split()
        return mail.fetch(inbox, uids[0]) if uids else None


def test_rows_are_tried_again_and_bounced(queue, domain):
    queue.send(f"bob@{domain}", f"eve@{domain}", sender=f"alice@{postern.DOMAIN}")
    first, second = (row["id"] for row in queue.list("--domain", domain))
    assert queue("queue", "retry", first) == "1 recipient tried again now\n"
    assert queue("queue", "bounce", second, "--words", "Wrong address, says ops") == (
        "1 recipient bounced\n")
    if not queue.running:
        queue.server.start()
    mail.wait_until(lambda: [row["attempts"] for row in queue.list("--domain", domain)] == [2], 30)
    report = mail.wait_until(lambda: report_about(queue.server, f"eve@{domain}"), 30)
    assert b"Wrong address, says ops" in report
    if not queue.running:
        queue.server.stop()


def test_rows_are_sent_another_way(queue, domain):
    queue.send(f"bob@{domain}")
    queue("queue", "hold", "--domain", domain)
    assert queue("queue", "reroute", "--domain", domain, "--to", "route:other") == (
        "1 recipient rerouted\n")
    row, = queue.list("--domain", domain)
    assert row["destination"] == "route:other" and row["state"] == "held"
    assert "destination" in queue("queue", "reroute", row["id"], "--to", "nonsense", status=2)


def test_what_is_wrong_is_told(queue):
    for command in ("hold", "release", "retry", "bounce", "remove", "reroute"):
        assert "which?" in queue("queue", command, status=USAGE)
        assert "nothing" in queue("queue", command, "999999999", status=NOT_FOUND)
        assert queue("queue", command, "--sender", "no@no.test").startswith("0 recipients ")
    queue("queue", "list", "--older", "soon", status=USAGE)
    queue("queue", "list", "--domain", "a b", status=USAGE)
    queue("queue", "list", "--max", "x", status=USAGE)
    queue("queue", "show", "nothing-like-that", status=NOT_FOUND)
    queue("queue", "show", status=USAGE)


# ---- explain -------------------------------------------------------------------------------------


def topics(lines):
    found = {}
    for line in lines:
        found.setdefault(line["topic"], line["words"])
    return found


def test_a_local_address_is_explained(queue):
    said = topics(queue.json("explain", f"Alice+shop@{postern.DOMAIN}"))
    assert said["from strangers"].startswith("250 ")
    assert f"mailbox of alice@{postern.DOMAIN}" in said["delivered to"]
    said = topics(queue.json("explain", f"nobody@{postern.DOMAIN}"))
    assert said["from strangers"].startswith("550 5.1.1") and "delivered to" not in said
    queue("explain", "no address", status=USAGE)


def test_an_address_elsewhere_is_explained(queue, domain):
    queue.send(f"bob@{domain}")
    said = topics(queue.json("explain", f"bob@{domain}"))
    assert said["from strangers"].startswith("550 5.7.1")
    assert said["from own users"].startswith("250 ")
    assert route_of(domain) in said["sent on to"]
    assert route_of(domain) in said["waiting"]
    assert "127.0.0.1" in json.dumps(said)
    assert "127.0.0.1" in queue("explain", f"bob@{domain}")


# ---- tls-report ----------------------------------------------------------------------------------

DAY = "2026-11-20"
POLICY = b"version: STSv1\nmode: enforce\nmx: *.sts.test\nmax_age: 86400\n"
TLS_RESULTS = [
    # domain, policy type, policy, mx, result, receiving ip, sending ip, words, sessions
    ("plain.test", 0, b"", "mx.plain.test", "", "192.0.2.1", "192.0.2.9", b"", 7),
    ("sts.test", 2, POLICY, "mx.sts.test", "", "192.0.2.2", "192.0.2.9", b"", 5),
    ("sts.test", 2, POLICY, "old.sts.test", "certificate-expired", "192.0.2.3", "192.0.2.9",
     b"certificate has expired", 2),
    ("sts.test", 1, b"3 1 1 00", "mx.sts.test", "validation-failure", "192.0.2.2", "192.0.2.9",
     b"", 1),
]


@pytest.fixture(scope="module")
def reported(queue):
    """The results of a day, as a courier would have told them."""
    store = sqlite3.connect(queue.server.folder / "store" / "postern.db", timeout=30)
    day = (datetime.date.fromisoformat(DAY) - datetime.date(1970, 1, 1)).days
    with store:
        store.executemany("INSERT INTO tls_result VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                          [(day, *row) for row in TLS_RESULTS])
    store.close()
    return queue


def test_a_tls_report_has_the_fields_of_the_standard(reported):
    report = reported.json("tls-report", DAY, "sts.test")
    assert report["organization-name"] == "mx.demo.test"
    assert report["date-range"] == {"start-datetime": f"{DAY}T00:00:00Z",
                                    "end-datetime": f"{DAY}T23:59:59Z"}
    assert report["contact-info"] == "postmaster@demo.test"
    assert report["report-id"]
    tlsa, sts = report["policies"]
    assert tlsa["policy"] == {"policy-type": "tlsa", "policy-string": ["3 1 1 00"],
                              "policy-domain": "sts.test"}
    assert sts["policy"] == {"policy-type": "sts", "policy-domain": "sts.test",
                             "policy-string": POLICY.decode().splitlines(),
                             "mx-host": ["*.sts.test"]}
    assert sts["summary"] == {"total-successful-session-count": 5,
                              "total-failure-session-count": 2}
    assert sts["failure-details"] == [{
        "result-type": "certificate-expired", "sending-mta-ip": "192.0.2.9",
        "receiving-mx-hostname": "old.sts.test", "receiving-ip": "192.0.2.3",
        "failed-session-count": 2, "failure-reason-code": "certificate has expired"}]


def test_there_is_one_tls_report_for_each_domain(reported):
    plain, sts = reported.json("tls-report", DAY)
    assert plain["policies"][0]["policy"] == {"policy-type": "no-policy-found",
                                              "policy-domain": "plain.test"}
    assert "failure-details" not in plain["policies"][0]
    assert sts == reported.json("tls-report", DAY, "sts.test")
    assert json.loads(reported("tls-report", DAY)) == [plain, sts]
    table = reported("tls-report", DAY, "--table").splitlines()
    assert len(table) == 5 and "certificate-expired" in "".join(table)
    assert reported.json("tls-report", "2001-01-01") == []
    reported("tls-report", DAY, "none.test", status=NOT_FOUND)
    for day in ("yesterday", "2026-11-32", "2026-1-1", "2026-11-20x"):
        reported("tls-report", day, status=USAGE)
