import pytest

import postern


def pytest_configure(config):
    if not postern.PROGRAM.exists():
        pytest.exit(f"{postern.PROGRAM} is not there: run make first, or set POSTERN", 2)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
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
