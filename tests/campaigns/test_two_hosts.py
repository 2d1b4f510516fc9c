"""Two hosts with one store between them, whose links are cut and mended: each run works, or says why within 30 s.

A host is a namespace of the network, of processes and of names, with a cable of its own to the store. Needs root.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.prefect_api import until
from tests.support.servers import EMULATORS, free_port, wait_for
from tests.support.survey import make_survey

pytestmark = pytest.mark.campaign

MAIN = "from flows.cli import main; main()"
SAYS_SECONDS = 30


class Host:
    """A host that reaches the store by one cable."""

    def __init__(self, number: int, port: int, log: Path) -> None:
        self.name, self._log = f"host{number}-{os.getpid()}", log / f"host{number}.log"
        self._cable, there = f"c{number}{os.getpid()}", f"10.203.{number}"
        inside = ["ip", "-n", self.name]
        for words in (
            ["ip", "netns", "add", self.name],
            ["ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name],
            ["ip", "addr", "add", f"{there}.1/24", "dev", self._cable],
            ["ip", "link", "set", self._cable, "up"],
            [*inside, "addr", "add", f"{there}.2/24", "dev", "eth0"],
            [*inside, "link", "set", "eth0", "up"],
            [*inside, "link", "set", "lo", "up"],
        ):
            subprocess.run(words, check=True)
        self._environment = os.environ | {
            "FSSPEC_S3_ENDPOINT_URL": f"http://{there}.1:{port}",
            "FSSPEC_CONFIG_DIR": os.devnull,
        }

    def link(self, state: str) -> None:
        """Cut or mend the cable: "down", "up"."""
        subprocess.run(["ip", "link", "set", self._cable, state], check=True)

    def publish(self, source: Path, *words: str) -> subprocess.Popen[bytes]:
        """Begin to publish a file to the store, as process 1 of a machine of its own."""
        self._log.write_bytes(b"")
        walls = [
            "ip",
            "netns",
            "exec",
            self.name,
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        command = [sys.executable, "-P", "-c", MAIN, "publish", str(source), "s3://volumes/a.zarr"]
        with open(self._log, "ab") as log:
            return subprocess.Popen(
                [*walls, *command, "--no-flow", "--no-report", "--chunks", "4,8,64", *words],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        """What the last run said."""
        return self._log.read_text(errors="replace")

    def says(self, pattern: str, seconds: float = SAYS_SECONDS) -> float:
        """Wait for a sentence of the last run; after how many seconds it came."""
        began = time.monotonic()
        until(lambda: re.search(pattern, self.said()), seconds, said=self.said)
        return time.monotonic() - began

    def remove(self) -> None:
        """Take host and cable away."""
        subprocess.run(["ip", "netns", "del", self.name], check=True)


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, Host, Any]]:
    """Two hosts, and the store that both reach, as it is seen from beside it."""
    if os.getuid():
        pytest.skip("only root can make hosts")
    import s3fs

    port = free_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = subprocess.Popen(
        [sys.executable, str(EMULATORS / "s3.py"), str(port), "", "0.0.0.0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started: list[Host] = []
    try:
        wait_for(f"http://127.0.0.1:{port}", server)
        store = s3fs.S3FileSystem(
            endpoint_url=f"http://127.0.0.1:{port}", skip_instance_cache=True, use_listings_cache=False
        )
        store.mkdir("volumes")
        for number in (1, 2):
            started.append(Host(number, port, tmp_path))
        yield started[0], started[1], store
    finally:
        for host in started:
            host.remove()
        server.kill()
        server.wait()


@pytest.mark.timeout(900)
def test_a_cut_link_is_said_and_what_was_begun_completes(
    hosts: tuple[Host, Host, Any], tmp_path: Path
) -> None:
    first, second, store = hosts
    source = make_survey(
        tmp_path / "a.sgy", inlines=range(200), crosslines=range(150), n_samples=301, set_words={(5, 5): 1}
    ).path
    writer = first.publish(source)
    try:
        until(lambda: store.glob("volumes/a.zarr/.seismill/runs/*/ledger/*"), 200, said=first.said)
        # Cut for a moment: nobody needs to know.
        first.link("down")
        time.sleep(8)
        first.link("up")
        time.sleep(5)
        assert writer.poll() is None, first.said()
        # Cut for longer: the run says so, and another host waits for it by name.
        first.link("down")
        print(f"cut link: said after {first.says('no usable answer for'):.0f} s")
        other = second.publish(source, "--lock-wait", "0")
        # From its start, which takes most of it on a busy machine.
        waited = second.says(r"process 1 is writing s3://volumes/a.zarr; run this again", 90)
        print(f"the other host: said after {waited:.0f} s")
        assert other.wait(SAYS_SECONDS) == 75
        first.link("up")
        print(f"mended link: said after {first.says('answers again'):.0f} s")
        assert writer.wait(300) == 0, first.said()
    finally:
        writer.kill()
        writer.wait()
    assert "identical" in first.said()
    assert second.publish(source).wait(200) == 0, second.said()
    assert "done already" in second.said()
