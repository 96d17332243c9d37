import os

import pytest

import postern
import processes


# What `make san` leaves out: strace, the sandbox's probes and who searches memory do not go with
# the sanitizers, other programs are not under test there, and 200 kills try the same code again and
# again.
NOT_UNDER_SAN = {"test_durable", "test_kill", "test_peers", "test_sandbox", "test_relay_kill",
                 "test_relay_peers", "test_relay_net", "test_secrets", "test_systemd"}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem not in NOT_UNDER_SAN and not item.get_closest_marker("not_under_san"):
            item.add_marker(pytest.mark.san)


def pytest_configure(config):
    config.addinivalue_line("markers", "san: runs under AddressSanitizer too")
    config.addinivalue_line("markers", "not_under_san: does not, unlike others of its file")
    if "ASAN_OPTIONS" in os.environ:
        # To look for leaks at its end a process has to clone itself; the sandbox forbids it.
        os.environ["ASAN_OPTIONS"] += ":detect_leaks=0"
    if not postern.PROGRAM.exists():
        pytest.exit(f"{postern.PROGRAM} is not there: run make first, or set POSTERN", 2)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left():
    """What a test started ends with it, whoever became its parent."""
    processes.adopt_orphans()
    yield
    left = processes.descendants(os.getpid()) - {os.getpid()}
    names = {pid: processes.words(pid) for pid in left}
    ends = processes.Watched(left)
    try:
        ends.wait()
    finally:
        assert not ends.fds, f"left behind: {names}"


@pytest.fixture(scope="session")
def demo(tmp_path_factory, nothing_is_left):
    """One demo server for all tests that leave no trace others would trip over."""
    with postern.Demo(tmp_path_factory.mktemp("demo") / "data") as server:
        yield server


@pytest.fixture
def new_demo(tmp_path):
    """A function that starts a demo server of the test's own: new_demo(users=…, arguments=…)."""
    servers = []

    def start(**options):
        server = postern.Demo(tmp_path / f"data{len(servers)}", **options)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()
