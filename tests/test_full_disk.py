"""A full disk: mail is refused for now, nothing that was accepted is lost, and when there is room
again it goes on by itself."""

import os
import re
import subprocess

import pytest

import mail
import postern
import wire

DISK_SIZE = 24 << 20
BALLAST_SIZE = 8 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request, tmp_path):
    """A mounted folder of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", folder]
    else:
        image = tmp_path / "image"
        with open(image, "wb") as file:
            file.truncate(DISK_SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        command = ["mount", "-o", "loop", image, folder]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip(f"cannot mount {request.param} here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def server(disk, tmp_path):
    """A demo whose data is on the small disk, beside some ballast; its log is elsewhere."""
    with open(disk / "ballast", "wb") as ballast:
        ballast.write(os.urandom(BALLAST_SIZE))
    demo = postern.Demo(disk / "data")
    demo.log_path = tmp_path / "log"
    with demo:
        yield demo


def noise(size):
    """Text that no compression makes much smaller."""
    return wire.text(size)


def send(server, octets):
    """The final reply; a client of its own each time, as an unlucky one would be."""
    with wire.Smtp(server.address("smtp")) as client:
        return client.greet().message(octets, ["alice@demo.test"])


def fill(server, size):
    """Sends until the server has had enough; what was accepted, and the reply to the one not."""
    accepted = {}
    while True:
        octets, message_id = wire.message(noise(size))
        reply = send(server, octets)
        if not reply.startswith("250"):
            return accepted, reply
        accepted[message_id] = octets
        assert len(accepted) * size < 8 * DISK_SIZE, "the disk does not get full"


def check_kept(server, accepted):
    conn = mail.imap(server)
    for message_id, octets in accepted.items():
        found = mail.find(conn, message_id)
        assert len(found) == 1, message_id
        assert mail.fetch(conn, found[0]).endswith(octets)
    conn.logout()


def test_a_full_disk_refuses_loses_nothing_and_recovers(server, disk):
    accepted, refusal = fill(server, 700_000)
    more, refusal_of_small = fill(server, 3000)
    accepted |= more
    assert len(accepted) >= 3
    for reply in (refusal, refusal_of_small):
        assert reply.startswith("452 4.3.1"), reply
    assert 'event=not-accepted' in server.log() and 'why="disk full"' in server.log()
    for _ in range(3):
        assert send(server, wire.message(noise(3000))[0]).startswith("45")
    check_kept(server, accepted)

    (disk / "ballast").unlink()
    octets, message_id = wire.message(noise(700_000))
    mail.wait_until(lambda: send(server, octets).startswith("250"))
    accepted[message_id] = octets
    check_kept(server, accepted)


def test_a_server_killed_on_a_full_disk_comes_back(server, disk):
    accepted, _ = fill(server, 700_000)
    server.kill()
    (disk / "ballast").unlink()
    server.start()
    octets, message_id = wire.message(noise(3000))
    mail.wait_until(lambda: send(server, octets).startswith("250"))
    accepted[message_id] = octets
    check_kept(server, accepted)


def test_a_command_that_has_no_room_says_so(server, disk):
    server.stop()
    with open(disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(4096))
    done = subprocess.run([postern.PROGRAM, "domain", "add", "other.test", "--config",
                           server.folder / "postern.conf"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 5 and re.search("disk( is)? full", done.stderr), done
