"""Every command: done, refused, exit status; with the server running and without."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import smtplib
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

import mail
import postern
import serve
import served

OK, FAILED, USAGE, NOT_FOUND, EXISTS, TRY_AGAIN = 0, 1, 2, 3, 4, 5


class Cli:
    """Runs commands on the data of a demo."""

    def __init__(self, folder):
        self.config = folder / "postern.conf"

    def run(self, *words, stdin=""):
        return subprocess.run([postern.PROGRAM, *map(str, words), "--config", self.config],
                              input=stdin, capture_output=True, text=True, timeout=60)

    def __call__(self, *words, status=OK, stdin=""):
        """The command's output; fails where it ends otherwise than expected."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout if status == OK else done.stderr

    def json(self, *words, **options):
        return json.loads(self(*words, "--json", **options))


@pytest.fixture(scope="module", params=["running", "alone"])
def cli(request, tmp_path_factory):
    """The commands beside a server, and on the data of one that has stopped."""
    demo = postern.Demo(tmp_path_factory.mktemp(request.param) / "data")
    with demo:
        if request.param == "alone":
            demo.stop()
        cli = Cli(demo.folder)
        cli.demo = demo
        cli.running = request.param == "running"
        yield cli


def is_user(name):
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def names(rows, key):
    return [row[key] for row in rows]


def test_domains(cli):
    cli("domain", "add", "Example.ORG")
    assert "example.org" in cli("domain", "add", "example.org", status=EXISTS)
    assert names(cli.json("domain", "list"), "domain") == ["demo.test", "example.org"]
    assert cli.json("domain", "show", "example.org")["separators"] == "+"
    cli("domain", "set", "example.org", "--separators", "-")
    assert cli.json("domain", "show", "EXAMPLE.org")["separators"] == "-"
    cli("domain", "set", "example.org", "--separators", "@", status=USAGE)
    cli("domain", "set", "example.org", status=USAGE)
    cli("domain", "remove", "example.org")
    cli("domain", "show", "example.org", status=NOT_FOUND)
    cli("domain", "remove", "example.org", status=NOT_FOUND)
    cli("domain", "add", "not a domain", status=USAGE)
    cli("domain", "add", "[127.0.0.1]", status=USAGE)


def test_commands_side_by_side_wait_for_each_other(cli):
    """Without a server, that is: each of them works alone, for a moment."""
    names_of_them = [f"side{n}.test" for n in range(4)]
    with concurrent.futures.ThreadPoolExecutor(len(names_of_them)) as pool:
        list(pool.map(lambda name: cli("domain", "add", name), names_of_them))
    for name in names_of_them:
        cli("domain", "remove", name)


def test_domains_in_other_scripts(cli):
    cli("domain", "add", "bücher.example")
    assert cli.json("domain", "show", "bücher.example")["domain"] == "xn--bcher-kva.example"
    cli("domain", "remove", "xn--bcher-kva.example")


def test_a_domain_with_addresses_stays(cli):
    cli("domain", "add", "full.test")
    for n in range(6):
        cli("address", "add", f"n{n}@full.test", "alice@demo.test")
    cli("alias", "add", "a@full.test", "alice@demo.test")
    said = cli("domain", "remove", "full.test", status=FAILED).splitlines()
    assert said == [
        "postern: domain remove: there are addresses in full.test; without them it can go:",
        "  postern alias remove a@full.test",
        *(f"  postern address remove n{n}@full.test" for n in range(4)), "  and 2 more"]
    assert "full.test" in names(cli.json("domain", "list"), "domain")
    for line in said[1:-1]:
        cli(*line.split()[1:])
    for n in range(4, 6):
        cli("address", "remove", f"n{n}@full.test")
    cli("domain", "remove", "full.test")


def test_accounts(cli):
    cli("account", "add", "carol@demo.test", "--quota", "10M", "--address", "carol@demo.test",
        "--address", "c@demo.test", stdin="secret words\n")
    shown = cli.json("account", "show", "carol@demo.test")
    assert shown["quota"] == 10 * 1024 * 1024 and not shown["disabled"]
    assert sorted(shown["addresses"]) == ["c@demo.test", "carol@demo.test"]
    cli("account", "add", "carol@demo.test", "--no-password", status=EXISTS)
    cli("account", "quota", "carol@demo.test", "none")
    assert cli.json("account", "show", "carol@demo.test")["quota"] == 0
    assert "none" in cli("account", "show", "carol@demo.test")
    cli("account", "quota", "carol@demo.test", "much", status=USAGE)
    cli("account", "disable", "carol@demo.test")
    assert cli.json("account", "show", "carol@demo.test")["disabled"]
    cli("account", "enable", "carol@demo.test")
    assert not cli.json("account", "show", "carol@demo.test")["disabled"]
    cli("account", "remove", "carol@demo.test")
    for command in ("show", "disable", "enable", "remove"):
        cli("account", command, "carol@demo.test", status=NOT_FOUND)
    cli("address", "show", "c@demo.test", status=NOT_FOUND)
    cli("account", "add", "bad name", "--no-password", status=USAGE)


def test_an_address_belongs_to_one(cli):
    cli("address", "add", "first@demo.test", "alice@demo.test")
    cli("address", "add", "first@demo.test", "bob@demo.test", status=EXISTS)
    cli("address", "add", "first@nowhere.test", "bob@demo.test", status=NOT_FOUND)
    cli("address", "add", "other@demo.test", "nobody@demo.test", status=NOT_FOUND)
    cli("address", "add", "no address", "bob@demo.test", status=USAGE)
    assert cli.json("address", "show", "FIRST@demo.test")["account"] == "alice@demo.test"
    assert "first@demo.test" in names(cli.json("address", "list", "alice@demo.test"), "address")
    assert "first@demo.test" not in names(cli.json("address", "list", "bob@demo.test"), "address")
    cli("address", "remove", "first@demo.test")
    cli("address", "remove", "first@demo.test", status=NOT_FOUND)


def test_quoted_local_parts(cli):
    cli("address", "add", '"two words"@demo.test', "alice@demo.test")
    assert '"two words"@demo.test' in names(cli.json("address", "list"), "address")
    cli("address", "remove", '"two words"@demo.test')


def test_an_alias_that_leads_to_nobody_is_told_of(cli):
    def warnings(*words):
        done = cli.run(*words)
        assert done.returncode == OK
        return [line.partition(" warning: ")[2] for line in done.stderr.splitlines()]

    def left_out(address):
        return [row["words"] for row in cli.json("explain", address) if row["topic"] == "left out"]

    assert warnings("alias", "add", "dead@demo.test", "none@demo.test") == [
        "mail for none@demo.test is refused now: 550 5.1.1 No such mailbox here",
        "so all mail for dead@demo.test is refused"]
    mixed = "alias", "add", "mixed@demo.test", "alice@demo.test", "dead@demo.test", "--json"
    assert warnings(*mixed) == [
        "mail for dead@demo.test is refused now: 550 5.1.1 No such mailbox here"]
    assert left_out("mixed@demo.test") == ["dead@demo.test: 550 5.1.1 No such mailbox here",
                                           "none@demo.test: 550 5.1.1 No such mailbox here"]
    assert warnings("alias", "set", "dead@demo.test", "mixed@demo.test") == []
    assert left_out("mixed@demo.test") == []  # each once; alice gets it
    assert warnings("alias", "set", "mixed@demo.test", "dead@demo.test")[-1] == (
        "so all mail for mixed@demo.test is refused")
    assert left_out("someone@[127.0.0.1]") == left_out("postmaster") == []
    if cli.running:
        client = mail.smtp(cli.demo)
        client.ehlo()
        client.mail("")
        assert client.rcpt("mixed@demo.test")[0] == 550
        client.quit()
    for name in "dead", "mixed":
        cli("alias", "remove", f"{name}@demo.test")


def test_an_alias_that_is_left_behind_is_told_of(cli):
    cli("account", "add", "gone@demo.test", "--address", "gone@demo.test", "--address",
        '"two words"@demo.test', "--no-password")
    cli("address", "add", "also@demo.test", "gone@demo.test")
    cli("alias", "add", "left@demo.test", "gone@demo.test", '"two words"@demo.test',
        "also@demo.test", "alice@demo.test")
    begin = "warning: the alias left@demo.test still leads to "
    for words, gone in ((["address", "remove", "also@demo.test"], ["also@demo.test"]),
                        (["account", "remove", "gone@demo.test"],
                         ["gone@demo.test", '"two words"@demo.test']),
                        (["alias", "remove", "left@demo.test"], [])):
        done = cli.run(*words)
        assert done.returncode == OK
        assert done.stderr.splitlines() == [f"postern: {words[0]} {words[1]}: {begin}{address}"
                                            for address in gone]


def test_aliases(cli):
    cli("alias", "add", "team@demo.test", "alice@demo.test", "bob@demo.test")
    cli("alias", "add", "team@demo.test", "bob@demo.test", status=EXISTS)
    cli("alias", "add", "alice@demo.test", "bob@demo.test", status=EXISTS)
    cli("alias", "add", "far@demo.test", "someone@elsewhere.test", status=FAILED)
    cli("alias", "add", "x@elsewhere.test", "bob@demo.test", status=NOT_FOUND)
    assert cli.json("alias", "show", "team@demo.test")["targets"] == ["alice@demo.test",
                                                                      "bob@demo.test"]
    cli("alias", "set", "team@demo.test", "bob@demo.test")
    assert cli.json("alias", "list")[0]["targets"] == ["bob@demo.test"]
    cli("alias", "set", "nobody@demo.test", "bob@demo.test", status=NOT_FOUND)
    cli("alias", "show", "alice@demo.test", status=NOT_FOUND)
    cli("address", "show", "team@demo.test", status=NOT_FOUND)
    cli("alias", "remove", "team@demo.test")
    assert cli.json("alias", "list") == []
    assert cli("alias", "list") == "There are no aliases.\n"


def test_catch_all(cli):
    cli("catch-all", "set", "demo.test", "bob@demo.test")
    assert cli.json("catch-all", "show", "demo.test")["catch_all"] == "bob@demo.test"
    cli("catch-all", "remove", "demo.test")
    cli("catch-all", "remove", "demo.test", status=NOT_FOUND)
    assert cli.json("catch-all", "show", "demo.test")["catch_all"] == ""
    cli("catch-all", "set", "demo.test", "nobody@demo.test", status=NOT_FOUND)
    cli("catch-all", "set", "nowhere.test", "bob@demo.test", status=NOT_FOUND)
    # As other servers have it: an alias of that name would get mail for "*" alone.
    for words in ("*@demo.test", "@demo.test"):
        assert "postern catch-all set" in cli("alias", "add", words, "bob@demo.test", status=USAGE)


def test_passwords(cli, tmp_path):
    added = cli.json("password", "add", "bob@demo.test", "--label", "phone", "--generate")
    assert re.fullmatch(r"([a-z2-9]{6}-){3}[a-z2-9]{6}", added["password"])
    cli("password", "add", "bob@demo.test", "--label", "phone", "--generate", status=EXISTS)
    cli("password", "add", "bob@demo.test", "--generate", status=USAGE)
    listed = cli.json("password", "list", "bob@demo.test")
    assert sorted(names(listed, "kind")) == ["account", "application"]
    [phone] = [row for row in listed if row["label"] == "phone"]
    assert cli.json("password", "show", "bob@demo.test", phone["id"]) == phone
    assert "password" not in phone
    (tmp_path / "new").write_text("in a file\n")
    cli("password", "set", "bob@demo.test", "--password-file", tmp_path / "new")
    cli("password", "set", "bob@demo.test", "--password-file", tmp_path / "gone", status=NOT_FOUND)
    cli("password", "set", "bob@demo.test", status=FAILED)
    cli("password", "set", "bob@demo.test", "--generate", "--password-file", "-", status=USAGE)
    cli("password", "set", "nobody@demo.test", "--generate", status=NOT_FOUND)
    cli("password", "set", "bob@demo.test", stdin=cli.demo.users["bob"] + "\n")
    cli("password", "remove", "bob@demo.test", phone["id"])
    cli("password", "remove", "bob@demo.test", phone["id"], status=NOT_FOUND)
    cli("password", "show", "bob@demo.test", phone["id"], status=NOT_FOUND)
    cli("password", "remove", "bob@demo.test", "phone", status=USAGE)


def test_status_says_whether_it_runs(cli):
    done = cli.run("status", "--json")
    shown = json.loads(done.stdout)
    assert shown["running"] == cli.running and shown["accounts"] == 2
    assert done.returncode == (OK if cli.running else NOT_FOUND)
    for command in ("reload", "stop"):
        if not cli.running:
            assert "no server is running" in cli(command, status=NOT_FOUND)


def test_trace(cli):
    assert "no trace" in cli("trace", "6h0000000000", status=NOT_FOUND)


@pytest.mark.parametrize("words", [
    [], ["frobnicate"], ["domain"], ["domain", "frobnicate"], ["domain", "add"],
    ["domain", "add", "a.test", "b.test"], ["domain", "list", "--frobnicate"],
    ["account", "quota", "a@b.test"], ["account", "add", "a@b.test", "--quota"],
    ["version", "--json=yes"], ["demo", "x", "--base", "64541"], ["demo", "x", "--user", "alice"],
    ["password", "remove", "a@b.test"],
], ids=" ".join)
def test_wrong_usage(words):
    done = subprocess.run([postern.PROGRAM, *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == USAGE and not done.stdout
    assert "help" in done.stderr or "usage" in done.stderr or words[0] in done.stderr


def test_every_command_has_help():
    overview = subprocess.run([postern.PROGRAM, "--help"], capture_output=True, text=True).stdout
    commands = [line.strip().split("  ")[0] for line in overview.splitlines()
                if line.startswith("  ")]
    assert len(commands) > 30
    for command in commands:
        words = [word for word in command.split() if re.fullmatch("[a-z-]+", word)]
        done = subprocess.run([postern.PROGRAM, *words, "--help"], capture_output=True, text=True)
        assert done.returncode == OK and done.stdout.startswith(f"usage: postern {words[0]}")
        assert ("--config" in done.stdout) == (words[0] not in ("demo", "setup")) and not done.stderr
        assert ("--json" in done.stdout) == (words[0] not in ("demo", "setup", "serve", "sendmail"))


# ---- The manual ------------------------------------------------------------------------------------


def commands():
    """[(words, the options that its help has)]"""
    overview = subprocess.run([postern.PROGRAM, "--help"], capture_output=True, text=True).stdout
    for line in overview.splitlines():
        if not line.startswith("  "):
            continue
        words = [word for word in line.strip().split("  ")[0].split()
                 if re.fullmatch("[a-z-]+", word)]
        told = subprocess.run([postern.PROGRAM, *words, "--help"], capture_output=True, text=True)
        yield words, set(re.findall(r"(?m)^  (?:-., )?(--[a-z-]+)", told.stdout))


def test_the_manual_has_each_command_and_each_option():
    source = (postern.ROOT / "docs/postern.1").read_text()
    # An entry of the list: the command, and what follows until the next one.
    entries = re.split(r"(?m)^\.It Nm Cm ", source)
    everywhere = {"--config", "--json", "--help"}
    password = {"--password-file", "--generate"}
    conditions = {"--sender", "--recipient", "--domain", "--trace", "--older", "--younger", "--held",
                  "--all"}
    for option in everywhere | password | conditions:
        assert f"Fl {option[1:]}" in source, option
    told = 0
    for words, options in commands():
        name = " ".join(words)
        found = [entry for entry in entries if re.match(rf"{name}( [A-Z]|$|\n)", entry)]
        assert len(found) == 1, f"postern.1 has {len(found)} entries for {name}"
        options -= everywhere
        if words[0] in ("account", "password", "setup"):
            options -= password
        if words[0] == "queue":
            options -= conditions
        for option in options:
            assert f"Fl {option[1:]}" in found[0], f"postern.1 does not tell of {name} {option}"
        told += 1
    assert told > 40 and len(entries) == told + 1


def test_the_manual_has_each_exit_status():
    overview = subprocess.run([postern.PROGRAM, "--help"], capture_output=True, text=True).stdout
    source = (postern.ROOT / "docs/postern.1").read_text()
    section = source[source.index(".Sh EXIT STATUS"):source.index(".Sh EXAMPLES")]
    assert re.findall(r"(?m)^\.It (\d)$", section) == list("012345")
    assert re.findall(r"\b([0-5]) ", overview[overview.index("Exit status"):]) == list("012345")


def json_fields():
    """{command: the fields that the manual says it answers with}"""
    source = (postern.ROOT / "docs/postern.1").read_text()
    section = source[source.index(".Sh JSON"):source.index(".Sh EXIT STATUS")]
    fields = {}
    for entry in re.split(r"(?m)^\.It Cm ", section)[1:]:
        head, _, body = entry.partition("\n")
        told = set(re.findall(r"[a-z_]+", " ".join(
            line for line in body.splitlines() if line.startswith(".Va "))[4:].replace(".Va", "")))
        for command in head.split(" , Cm "):
            fields[command] = told
    return fields


def test_json_has_the_fields_of_the_manual(cli):
    fields = json_fields()
    cli("alias", "add", "json@demo.test", "alice@demo.test")
    cli("catch-all", "set", "demo.test", "bob@demo.test")
    asked = [["version"], ["domain", "list"], ["domain", "show", "demo.test"],
             ["catch-all", "show", "demo.test"], ["account", "list"],
             ["account", "show", "bob@demo.test"], ["address", "list"],
             ["address", "show", "bob@demo.test"], ["alias", "list"],
             ["alias", "show", "json@demo.test"], ["password", "list", "bob@demo.test"],
             ["explain", "json@demo.test"]]
    for words in asked:
        shown = cli.json(*words)
        name = next(name for name in fields if " ".join(words).startswith(name))
        for one in shown if isinstance(shown, list) else [shown]:
            assert one.keys() == fields[name], words
        assert isinstance(shown, list) == (words[-1] == "list" or words[:2] == ["password", "list"]
                                           or words[0] == "explain")
    known = cli.json("password", "list", "bob@demo.test")[0]["id"]
    assert cli.json("password", "show", "bob@demo.test", known).keys() == fields["password show"]
    for words, status in (["status"], OK if cli.running else NOT_FOUND), (["queue", "list"], OK):
        done = cli.run(*words, "--json")
        assert done.returncode == status
        shown = json.loads(done.stdout)
        assert shown == [] if words[0] == "queue" else shown.keys() == fields["status"]
    made = cli.json("account", "add", "json2@demo.test", "--generate")
    assert made.keys() == fields["account add"]
    for words in (["password", "set", "json2@demo.test", "--generate"],
                  ["password", "add", "json2@demo.test", "--label", "x", "--generate"]):
        shown = cli.json(*words)
        assert shown.keys() | {"done"} == fields[" ".join(words[:2])]
        assert shown["account"] == "json2@demo.test" and shown["password"]
    for words in (["catch-all", "remove", "demo.test"], ["alias", "remove", "json@demo.test"],
                  ["account", "remove", "json2@demo.test"], ["queue", "retry", "--all"]):
        assert cli.json(*words).keys() == {"done"}
    failed = cli.run("domain", "show", "nowhere.test", "--json")
    assert failed.returncode == NOT_FOUND and failed.stdout == "" and failed.stderr


def test_an_empty_word_does_not_mean_all_of_the_queue(cli):
    for words in ([""], ["--sender", ""], ["--recipient", ""], ["--trace", ""], ["--domain", ""],
                  ["--sender", "no address"], ["--recipient", "<>"]):
        for command in "list", "remove":
            assert "queue" in cli("queue", command, *words, status=USAGE), words
    cli("queue", "list", "--sender", "<>")


@pytest.mark.parametrize("words, status, said", [
    (["domain"], USAGE, "domain what? One of\n  domain add DOMAIN"),
    (["domain", "frob"], USAGE, "there is no command domain frob, but\n  domain add DOMAIN"),
    (["domian", "add", "x.test"], USAGE, "there is no command domian; see postern --help\n"),
    (["demo", "/tmp/x", "-c", "x"], USAGE, "there is no option -c\nsee postern demo --help\n"),
    (["demo", "/tmp/x", "--json"], USAGE, "there is no option --json\nsee postern demo --help\n"),
])
def test_a_command_that_is_none(words, status, said):
    done = subprocess.run([postern.PROGRAM, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == status and done.stdout == ""
    assert done.stderr.startswith(f"postern: {said}") or done.stderr == f"postern: demo: {said}"


@pytest.mark.parametrize("words, status, said", [
    ("domain add demo.test", EXISTS, "there is a domain demo.test already"),
    ("domain set demo.test", USAGE, "there is nothing to set: say --separators"),
    ("account add alice@demo.test --no-password", EXISTS,
     "there is an account alice@demo.test already"),
    ("account add z@no.test --no-password", NOT_FOUND, "there is no domain no.test"),
    ("account quota alice@demo.test 1.5G", USAGE, "1.5G is no size (like 500M, 2G or none)"),
    ("address add alice@demo.test bob@demo.test", EXISTS,
     "there is an address alice@demo.test already"),
    ("alias remove none@demo.test", NOT_FOUND, "there is no alias none@demo.test"),
    ("alias remove bob@demo.test", NOT_FOUND,
     "bob@demo.test is an account's address: see postern address"),
    ("password add alice@demo.test --generate", USAGE,
     "say what it is for: --label WORDS, 1 to 64 octets"),
    ("password remove alice@demo.test 9999", NOT_FOUND,
     "there is no such password (postern password list has their ids)"),
    ("queue reroute 1 --to elsewhere", USAGE,
     "elsewhere is no destination (like route:NAME or dns:DOMAIN)"),
    ("queue show 1", NOT_FOUND, "nothing waits under 1"),
])
def test_a_mistake_is_told_in_one_line(cli, words, status, said):
    lines = cli(*words.split(), status=status).splitlines()
    assert lines[0].endswith(f": {said}")
    assert lines[1:] == ([f"see postern {' '.join(words.split()[:2])} --help"]
                         if status == USAGE else [])


def test_version():
    done = subprocess.run([postern.PROGRAM, "--version"], capture_output=True, text=True)
    assert re.fullmatch(r"postern \d+\.\d+\.\d+\n", done.stdout)


def test_config_check_shows_every_error(tmp_path):
    bad = tmp_path / "bad.conf"
    bad.write_text("hostnam x\nlisten mx 1.2.3.4\n")
    done = subprocess.run([postern.PROGRAM, "config", "check", bad], capture_output=True, text=True)
    assert done.returncode == FAILED
    assert f"{bad}:1:1: " in done.stderr and f"{bad}:2:11: " in done.stderr
    done = subprocess.run([postern.PROGRAM, "config", "check", tmp_path / "none"],
                          capture_output=True, text=True)
    assert done.returncode == NOT_FOUND and "none" in done.stderr


def test_config_check_looks_at_certificates_and_keys(tmp_path):
    chain, key = serve.make_certificate(tmp_path)
    _, strange = serve.make_certificate(tmp_path, "other.test", "other")
    config = tmp_path / "postern.conf"

    def check(*pair):
        config.write_text(f"hostname mail.test\ndata {tmp_path}/data\ncertificate {pair[0]} {pair[1]}\n"
                          "hostnam x\n")
        done = subprocess.run([postern.PROGRAM, "config", "check", config], capture_output=True,
                              text=True)
        assert done.returncode == FAILED
        assert f"{config}:4:1: " in done.stderr
        return done.stderr

    key_column = 14 + len(str(chain))
    assert "certificate" not in check(chain, key)
    assert f"{config}:3:{key_column}: certificate: {strange}: this is not the" in check(chain, strange)
    assert f"{config}:3:{key_column}: certificate: {chain}: not a private key" in check(chain, chain)
    assert f"{config}:3:13: certificate: {key}: not a certificate" in check(key, key)
    assert f"{config}:3:13: certificate: {tmp_path}/none: No such file" in check(f"{tmp_path}/none", key)


def test_config_check_looks_for_users_and_groups(tmp_path):
    config = tmp_path / "postern.conf"
    start = f"hostname mail.test\ndata {tmp_path}/data\n"

    def check(*lines):
        config.write_text(start + "\n".join(lines) + "\n")
        done = subprocess.run([postern.PROGRAM, "config", "check", config], capture_output=True,
                              text=True)
        assert done.returncode == (FAILED if done.stderr else OK)
        return done.stderr.splitlines()

    all_there = [f"user {role} daemon" for role in serve.ROLES] + ["group daemon"]
    assert check(*all_there) == []
    assert check(*all_there[:-1], "group 65533") == []
    assert check(*(f"user {role} -" for role in serve.ROLES)) == []
    assert check(*all_there[1:-1], "user edge no-such-one", "group no-such-group") == [
        f'{config}:7:11: user: there is no user "no-such-one"',
        f'{config}:8:7: group: there is no group "no-such-group"']
    if os.geteuid() == 0:
        usual = check("user edge daemon", "group daemon")
        missing = [name for name in ("courier", "keeper", "mailroom", "vault")
                   if not is_user(f"postern-{name}")]
        assert usual == [f'{config}:1:1: user: there is no user "postern-{name}", the usual one '
                         "(postern setup makes it)" for name in missing]


# ---- What changes have to do with mail ------------------------------------------------------


def test_changes_count_at_once(new_demo):
    """A running server goes by what was changed a moment ago."""
    demo = new_demo()
    cli = Cli(demo.folder)
    sender, client = "someone@elsewhere.test", mail.smtp(demo)
    client.ehlo()
    client.mail(sender)
    assert client.rcpt("carol@demo.test")[0] == 550
    cli("account", "add", "carol@demo.test", stdin="secret\n")
    assert client.rcpt("carol@demo.test")[0] == 250
    cli("account", "disable", "carol@demo.test")
    code, words = client.rcpt("carol@demo.test")
    assert code == 550 and b"5.2.1" in words
    cli("alias", "add", "team@demo.test", "alice@demo.test", "bob@demo.test")
    assert client.rcpt("team@demo.test")[0] == 250
    cli("alias", "add", "loop@demo.test", "loop@demo.test")
    code, words = client.rcpt("loop@demo.test")
    assert code == 550 and b"5.4.6" in words
    cli("account", "quota", "bob@demo.test", "1")
    assert client.docmd("RSET")[0] == 250
    client.mail(sender, ["SIZE=5000"])
    code, words = client.rcpt("bob@demo.test")
    assert code == 552 and b"5.2.2" in words
    cli("catch-all", "set", "demo.test", "alice@demo.test")
    assert client.rcpt("whoever@demo.test")[0] == 250
    assert client.rcpt("someone%elsewhere.test@demo.test")[0] == 550
    client.quit()


def test_a_disabled_account_is_shown_out(new_demo):
    demo = new_demo()
    cli = Cli(demo.folder)
    conn = mail.imap(demo)
    conn.select("INBOX")
    cli("account", "disable", "alice@demo.test")
    with pytest.raises(Exception, match="closed|BYE|EOF|LOGIN"):
        conn.noop()
        conn.noop()
    with pytest.raises(Exception):
        mail.imap(demo)
    cli("account", "enable", "alice@demo.test")
    mail.imap(demo).logout()


def test_trace_of_a_message(new_demo):
    demo = new_demo()
    client = mail.smtp(demo)
    client.ehlo()
    client.mail("someone@elsewhere.test")
    client.rcpt("alice@demo.test")
    code, words = client.data(b"Subject: traced\r\n\r\nx\r\n")
    assert code == 250
    steps = Cli(demo.folder).json("trace", words.split()[-1].decode())
    assert steps and "alice@demo.test" in json.dumps(steps)


def test_reload_and_stop(new_demo):
    demo = new_demo()
    cli = Cli(demo.folder)
    conn = mail.imap(demo)
    cli("reload")
    assert conn.noop()[0] == "OK"
    cli.config.write_text(cli.config.read_text() + "frobnicate yes\n")
    cli("reload", status=FAILED)
    assert conn.noop()[0] == "OK"
    process = demo.process
    cli.config.write_text(cli.config.read_text().replace("frobnicate yes\n", ""))
    cli("stop")
    assert process.wait(20) == 0


# ---- Slips -----------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_who_may_not_look_is_told_so_and_nothing_untrue():
    with served.Served() as server:
        def stranger(*words):
            done = subprocess.run([server.public_program(), *words, "--config", server.config],
                                  text=True, capture_output=True, timeout=60, user=64321, group=64321,
                                  extra_groups=[])
            assert done.stdout == "" and done.returncode == FAILED, (words, done)
            return done.stderr
        for words in ["status"], ["domain", "list"], ["queue", "list"]:
            assert "postern.db: Permission denied" in stranger(*words)
        for words in ["reload"], ["stop"], ["domain", "add", "other.test"]:
            assert "control: Permission denied" in stranger(*words)
        server.stop()
        assert "this is for root" in stranger("domain", "add", "other.test")


def test_what_is_no_configuration_is_not_tried_again(tmp_path):
    done = subprocess.run([postern.PROGRAM, "status", "--config", tmp_path], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == FAILED and "directory" in done.stderr


def test_what_could_not_be_printed_is_told(cli):
    for words in ["domain", "list"], ["domain", "list", "--json"], ["domain", "list", "--help"]:
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([postern.PROGRAM, *words, "--config", cli.config], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == FAILED
        assert done.stderr == "postern: domain list: standard output: No space left on device\n"


def test_a_password_that_is_too_long_is_called_so(cli):
    said = cli("account", "add", "late@cli.test", stdin="x" * 5000 + "\n", status=FAILED)
    assert "1 to 1024" in said


def test_what_is_no_password_makes_no_account(cli):
    for password in "a\tb", "\x7f", "":
        said = cli("account", "add", "none@cli.test", stdin=f"{password}\n", status=FAILED)
        assert len(said.splitlines()) == 1 and "password" in said
    done = subprocess.run([postern.PROGRAM, "account", "add", "none@demo.test", "-c", cli.config],
                          input=b"\xff\xfe\n", capture_output=True, timeout=60)
    assert done.returncode == FAILED and b"octets of UTF-8" in done.stderr
    cli("account", "show", "none@demo.test", status=NOT_FOUND)


def test_a_new_password_does_not_open_a_disabled_account(cli):
    cli("account", "add", "shut@demo.test", stdin="first\n")
    cli("account", "disable", "shut@demo.test")
    cli("password", "remove", "shut@demo.test", "all")
    cli("password", "set", "shut@demo.test", stdin="second\n")
    if cli.running:
        with (smtplib.SMTP_SSL(*cli.demo.address("submissions"), timeout=20,
                               context=postern.tls_context()) as client,
              pytest.raises(smtplib.SMTPAuthenticationError)):
            client.login("shut", "second")
    cli("account", "enable", "shut@demo.test")
    if cli.running:
        with smtplib.SMTP_SSL(*cli.demo.address("submissions"), timeout=20,
                              context=postern.tls_context()) as client:
            client.login("shut", "second")
    cli("account", "remove", "shut@demo.test")


def test_a_server_of_another_version_is_called_so(tmp_path):
    """One that ends the conversation, and is another program."""
    (tmp_path / "postern.conf").write_text(f"hostname mail.test\ndata {tmp_path}\n")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "control"))
        door.listen()

        def end_conversations():
            with contextlib.suppress(OSError):
                while True:
                    door.accept()[0].close()

        threading.Thread(target=end_conversations, daemon=True).start()
        # The end comes before, while or after the command says its first words: several times.
        for words in [["reload"], ["stop"], *[["domain", "add", "x.test"]] * 20]:
            done = Cli(tmp_path).run(*words)
            assert done.returncode == FAILED, done.stderr
            assert f"(process {os.getpid()}) is another program" in done.stderr
            assert "systemctl restart postern" in done.stderr
        door.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def nobody():
    """The program as somebody else runs it: a list of words to begin a command with."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with serve.open_folder() as folder:
        shutil.copy(postern.PROGRAM, folder / "postern")
        yield ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", folder / "postern"]


def test_who_may_not_is_told_so(cli, nobody):
    def run(*words):
        return subprocess.run([*nobody, *words, "-c", "postern.conf"], timeout=60,
                              capture_output=True, text=True, cwd=cli.config.parent)

    assert run("domain", "list").stderr.endswith(": postern.conf: Permission denied\n")
    modes = [(path, path.stat().st_mode & 0o777) for path in (cli.config.parent, cli.config)]
    for path, mode in modes:
        path.chmod(mode | 0o055)
    try:
        for words in (["domain", "list"], ["domain", "add", "x.test"], ["reload"], ["status"],
                      ["password", "list", "bob@demo.test"], ["store", "check"]):
            done = run(*words)
            assert done.stdout == "" and len(done.stderr.splitlines()) == 1
            if words == ["store", "check"] and done.returncode == TRY_AGAIN:
                assert "the server runs" in done.stderr
                continue
            assert done.returncode == FAILED, words
            assert re.search("Permission denied|for root, or for whose data", done.stderr), words
    finally:
        for path, mode in modes:
            path.chmod(mode)


def test_a_password_that_is_not_there_is_missed(cli):
    said = cli("account", "add", "late@cli.test", stdin="", status=FAILED)
    assert "standard input (--generate makes one)" in said


# ---- demo and setup ------------------------------------------------------------------------


def test_demo_keeps_its_data_and_stops_on_both_signals(tmp_path):
    demo = postern.Demo(tmp_path / "data", users={"zoe": "secret"})
    demo.start()
    conn = mail.imap(demo, "zoe")
    conn.append("INBOX", None, None, b"Subject: kept\r\n\r\nx\r\n")
    conn.logout()
    before = (demo.folder / "certificate.pem").read_bytes()
    assert demo.stop(signal.SIGINT) == 0
    demo.start()
    assert (demo.folder / "certificate.pem").read_bytes() == before
    assert mail.imap(demo, "zoe").select("INBOX")[1] == [b"1"]
    client = mail.smtp(demo)
    client.ehlo()
    client.mail("")
    assert client.docmd("RCPT TO:<Postmaster>")[0] == 250
    client.quit()
    second = subprocess.run([postern.PROGRAM, "demo", demo.folder], capture_output=True, text=True)
    assert second.returncode == TRY_AGAIN and "running" in second.stderr
    assert demo.stop(signal.SIGTERM) == 0


def test_demo_holds_no_tester_back(demo):
    with mail.smtp(demo) as client:
        client.ehlo()
        client.mail("a@example.test")
        started = time.monotonic()
        replies = [client.rcpt(f"nobody{n}@demo.test")[0] for n in range(10)]
        assert replies == [550] * 10
        assert time.monotonic() - started < 4  # a tarpit would have taken five seconds for each


def test_demo_makes_accounts_by_itself(tmp_path):
    demo = postern.Demo(tmp_path / "data", users={})
    demo.start()
    try:
        words = (demo.folder / "passwords").read_text()
        demo.users = dict(line.split(":") for line in words.split())
        assert set(demo.users) == {"alice", "bob"}
        mail.imap(demo, "bob").logout()
    finally:
        demo.stop()


def setup(*words, **options):
    return subprocess.run([postern.PROGRAM, "setup", *words], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, **options)


def test_setup_twice(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    first = setup("ann@example.org", "--root", root, "--generate")
    assert first.returncode == OK, first.stderr
    assert "example.org.  MX" in first.stdout and "the password of ann@example.org" in first.stdout
    files = {path: path.read_bytes() for path in root.rglob("etc/**/*") if path.is_file()}
    assert {path.name for path in files} == {"postern.conf", "certificate.pem", "key.pem",
                                             "postern.service"}
    assert os.readlink(root / "usr/sbin/sendmail") == os.path.realpath(postern.PROGRAM)
    assert os.stat(root / "etc/postern/key.pem").st_mode & 0o077 == 0
    # All is right but for where the certificate is seen from here, and the users.
    there = tmp_path / "postern.conf"
    text = (root / "etc/postern/postern.conf").read_text()
    users = "".join(f"user {role} -\n" for role in serve.ROLES)
    there.write_text(text.replace("/etc/postern/", f"{root}/etc/postern/") + users)
    assert subprocess.run([postern.PROGRAM, "config", "check", there]).returncode == OK
    second = setup("ann@example.org", "--root", root, "--generate")
    assert second.returncode == OK and "made" not in second.stdout.split("DNS")[0]
    assert {path: path.read_bytes() for path in files} == files


def test_setup_gives_an_account_the_password_that_an_earlier_run_did_not_come_to(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    assert setup("ann@example.org", "--root", root, "--generate").returncode == OK
    secrets = sqlite3.connect(next(root.rglob("keeper/secrets.db")), isolation_level=None)
    secrets.execute("DELETE FROM credential")
    secrets.close()
    again = setup("ann@example.org", "--root", root, "--generate")
    assert again.returncode == OK and "the password of ann@example.org: " in again.stdout
    third = setup("ann@example.org", "--root", root, "--generate")
    assert third.returncode == OK and "password of" not in third.stdout.split("DNS")[0]


def test_setup_makes_folders_that_everybody_can_read_whatever_the_umask_is(tmp_path):
    assert setup("ann@example.org", "--root", tmp_path, "--generate", umask=0o077).returncode == OK
    assert os.stat(tmp_path / "etc/postern").st_mode & 0o777 == 0o755
    assert os.stat(tmp_path / "etc/postern/postern.conf").st_mode & 0o777 == 0o644
    assert os.stat(tmp_path / "etc/postern/key.pem").st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_nothing_is_done_as_root_with_what_others_can_change(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    program = folder / "postern"
    shutil.copy(postern.PROGRAM, program)
    os.chown(folder, 64321, 64321)
    # Where it would be done after all, nothing can be written.
    shut = 'mount -t tmpfs -o ro none /etc && exec "$@"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", shut, "sh", program, "setup",
                           "ann@example.org", "--generate"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == FAILED and f"{folder}: others" in done.stderr
    assert "make install" in done.stderr and done.stdout == ""
    done = subprocess.run([postern.PROGRAM, "demo", folder], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == FAILED and f"{folder}: others" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["postern"]


UNIT = "etc/systemd/system/postern.service"


def marked(text):
    """As setup writes it."""
    return text + f"# sha256 of what is above: {hashlib.sha256(text.encode()).hexdigest()}\n"


def test_setup_replaces_an_older_unit_unless_it_was_edited(tmp_path):
    def run():
        done = setup("ann@example.org", "--root", tmp_path, "--generate")
        assert done.returncode == OK, done.stderr
        return done.stdout

    unit, beside = tmp_path / UNIT, tmp_path / f"{UNIT}.new"
    assert f"made     {unit}\n" in run()
    ours = unit.read_text()
    assert marked(ours[:ours.rindex("# sha256")]) == ours
    unit.write_text(marked("[Service]\nExecStart=/old serve\n\n"))
    assert f"renewed  {unit}\n         systemctl daemon-reload" in run() and unit.read_text() == ours
    assert f"kept     {unit}\n" in run() and not beside.exists()
    # An edit of what this version writes: there is nothing newer.
    unit.write_text(ours.replace("RestartSec=2s", "RestartSec=9s"))
    assert f"kept     {unit}\n" in run() and not beside.exists()
    edited = marked("[Service]\nExecStart=/old serve\n").replace("/old", "/mine")
    unit.write_text(edited)
    assert f"kept     {unit}\nmade     {beside}\n" in run()
    assert f"kept     {unit}\nkept     {beside}\n" in run()
    assert unit.read_text() == edited and beside.read_text() == ours
    beside.unlink()
    unit.unlink()
    unit.symlink_to("/dev/null")  # masked
    assert f"kept     {unit}\n" in run() and unit.is_symlink() and not beside.exists()


def test_setup_does_not_leave_its_root_by_a_link(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in root, outside:
        folder.mkdir()
    (root / "etc").symlink_to(outside)
    done = setup("ann@example.org", "--root", root, "--generate")
    assert done.returncode == NOT_FOUND and f"{root}/etc: No such file" in done.stderr
    (root / "etc").unlink()
    # What leads to /outside leads to root/outside.
    (root / "outside").mkdir()
    for name, to in ("usr", "/outside"), ("etc", "../../../outside"):
        (root / name).symlink_to(to)
    (root / "var/lib").mkdir(parents=True)
    (root / "var/lib/postern").symlink_to("/outside/data")
    (root / "outside/data").mkdir()
    (root / "outside/postern").mkdir()
    (root / "outside/postern/key.pem").symlink_to(outside / "key.pem")
    (root / "outside/postern/postern.conf").symlink_to(outside / "postern.conf")
    done = setup("ann@example.org", "--root", root, "--generate")
    assert done.returncode == OK, done.stderr
    assert (root / "outside/data/store/postern.db").exists()
    assert (root / "outside/sbin/sendmail").is_symlink()
    assert (root / "outside" / UNIT.removeprefix("etc/")).exists()
    assert list(outside.iterdir()) == []


def test_setup_asks_again_for_a_password_that_did_not_come(tmp_path):
    first = setup("ann@example.org", "--root", tmp_path)  # which has nothing to read
    assert first.returncode == FAILED and "(--generate makes one)" in first.stderr
    assert "run this again" in first.stderr
    again = setup("ann@example.org", "--root", tmp_path, "--generate")
    assert again.returncode == OK and "the password of ann@example.org: " in again.stdout


def test_setup_refuses(tmp_path):
    assert setup("nonsense", "--root", tmp_path).returncode == USAGE
    assert setup("a@b.test", "--root", "relative").returncode == USAGE
    assert setup("a@b.test", "--hostname", "x y", "--root", tmp_path).returncode == USAGE


# ---- The store as a whole --------------------------------------------------------------------------


def test_a_store_is_looked_over_and_restored_only_without_a_server(cli):
    if cli.running:
        cli("store", "check", status=TRY_AGAIN)
        cli("store", "restored", status=TRY_AGAIN)
        return
    before = validities(cli)
    assert "no damage" in cli("store", "check")
    assert "0 recipients are held" in cli("store", "restored")
    assert "no damage" in cli("store", "check")
    after = validities(cli)
    assert len(set(after)) == len(after) == len(before) and min(after) > max(before)


def test_a_check_leaves_nothing_that_the_server_cannot_open():
    with served.Served() as server:
        server.stop()
        lock = server.folder / "store" / "lock"
        lock.unlink()  # as where the store was copied back alone
        assert "no damage" in server.run("store", "check")
        assert not lock.exists()
        server.start()
        server.stop()
        shutil.rmtree(server.folder)
        done = subprocess.run([postern.PROGRAM, "store", "check", "--config", server.config],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == NOT_FOUND and "there is no store" in done.stderr
        assert not server.folder.exists()
        server.folder.mkdir()


def validities(cli):
    """The UIDVALIDITY of every mailbox."""
    with contextlib.closing(sqlite3.connect(cli.config.parent / "store" / "postern.db")) as store:
        return [row[0] for row in store.execute("SELECT uidvalidity FROM mailbox ORDER BY id")]
