"""Print what each verb asks of an S3 store: requests, bytes and client CPU time per GB of SEG-Y, in one run.

    python tests/benchmarks/requests_per_gb.py [SURVEY]

SURVEY is a SEG-Y; one with a corner missing is made where none is given. It is put to an S3 server on this machine
(moto), and taken through the verbs, from bucket to bucket.
Requests are those that the server logged; bytes are those of the objects' contents. CPU time is that of this process.
The same verbs run on local disk before, which also compiles what is compiled; the difference is what the S3 client
costs. Wall time is not shown: the server shares the cores.

With --peer PYTHON, an interpreter that has multidimio 1.1, the same survey goes through its ingest and its export too,
in processes of its own whose CPU time is counted whole.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from flows.stages import as_stage, load_verb
from tasks.demo import make_survey
from tasks.volume.store.objects import Traffic, traffic
from tests.support.servers import BUCKETS, EMULATORS, free_port, wait_for

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
VERBS = ("ingest_segy", "rechunk", "pyramid", "report", "verify", "prove", "export_segy")


@dataclass(frozen=True)
class Spent:
    """What one verb took."""

    cpu_seconds: float
    traffic: Traffic
    requests: Counter[str]


class Log:
    """The requests that the server wrote into its log since the last look."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0

    def requests(self) -> Counter[str]:
        """By method."""
        text = self.path.read_bytes()[self.offset :]
        self.offset += len(text)
        return Counter(re.findall(r'"(GET|HEAD|PUT|POST|DELETE) [^"]* HTTP/1', text.decode()))


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("survey", nargs="?", help="a SEG-Y to use instead of a made one")
    parser.add_argument("--shape", default="160x188x751", help="of the survey made, default: %(default)s")
    parser.add_argument(
        "--folder", help="where files go while it runs; default: the system's temporary folder"
    )
    parser.add_argument("--peer", help="an interpreter that has multidimio")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="requests-", dir=chosen.folder) as name:
        folder, port = Path(name), free_port()
        survey, tiny = Path(chosen.survey or folder / "survey.sgy").absolute(), folder / "tiny.sgy"
        make_survey(str(tiny), shape=(7, 9, 45))
        if not chosen.survey:
            make_survey(str(survey), shape=tuple(int(n) for n in chosen.shape.split("x")))
        endpoint = f"http://127.0.0.1:{port}"
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen(
                [sys.executable, str(EMULATORS / "s3.py"), str(port)],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            wait_for(f"{endpoint}/moto-api/data.json", server)
            filled = fill(endpoint, survey, tiny)
            take(str(tiny), str(folder / "practice"), str(folder / "practice.sgy"), dict)
            take(
                *(f"s3://{where}" for where in ("staging/tiny.sgy", "volumes/tiny", "volumes/tiny.sgy")), dict
            )
            locally = take(str(survey), str(folder / "volume"), str(folder / "export.sgy"), Counter)
            seen = Log(folder / "log")
            seen.requests()
            remotely = take(filled, "s3://volumes/survey", "s3://volumes/survey.sgy", seen.requests)
            peer = take_peer(chosen.peer, endpoint, filled, seen) if chosen.peer else {}
        finally:
            server.terminate()
            server.wait(10)
        print_table(locally, remotely, survey)
        print_peer(peer, survey)


def fill(endpoint: str, survey: Path, tiny: Path) -> str:
    """Make the buckets and put the surveys; return where the larger one is."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    import fsspec
    import fsspec.config

    fsspec.config.conf["s3"] = {"endpoint_url": endpoint}
    store = fsspec.filesystem("s3")
    for bucket in BUCKETS:
        store.mkdir(bucket)
    for file in (survey, tiny):
        # In one piece: moto takes longer to put many together than the client waits.
        store.put_file(str(file), f"staging/{file.name}", chunksize=5 << 30)
    return f"s3://staging/{survey.name}"


def take(source: str, volume: str, target: str, requests: Callable[[], Any]) -> dict[str, Spent]:
    """Run each verb in turn; `requests` counts those since its last call."""
    spent = {}
    for name in VERBS:
        verb = as_stage(load_verb(name))
        arguments = {"ingest_segy": (source, volume), "export_segy": (volume, target)}.get(name, (volume,))
        before, began = traffic.snapshot(), time.process_time()
        verb(*arguments)
        cpu = time.process_time() - began
        spent[name] = Spent(cpu, traffic.since(before), Counter(requests()))
    return spent


PEER = {
    "ingest": "mdio.segy_to_mdio(get_segy_standard(1.0), get_template('PostStack3DTime'), source, volume)",
    "export": "mdio.mdio_to_segy(get_segy_standard(1.0), volume, target)",
}
PEER_HEAD = """
import os, sys
import mdio
from mdio.builder.template_registry import get_template
from segy.standards import get_segy_standard
if __name__ == "__main__":
    source, volume, target = sys.argv[1:]
"""


def take_peer(python: str, endpoint: str, source: str, seen: Log) -> dict[str, tuple[float, Counter[str]]]:
    """CPU seconds and requests of multidimio's ingest and export of the same survey, to disk where it writes no S3."""
    spent = {}
    for name, call in PEER.items():
        script = f"{PEER_HEAD}    {call}\n"
        with tempfile.TemporaryDirectory(prefix="peer-") as folder:
            file = Path(folder) / "job.py"
            file.write_text(script)
            before = os.times()
            target = str(Path(folder) / "export.sgy")
            done = subprocess.run(
                [python, str(file), source, "s3://volumes/peer.mdio", target],
                env=os.environ
                | {"FSSPEC_S3_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL": endpoint, "PYTHONPATH": ""}
                | {"MDIO__IMPORT__SAVE_SEGY_FILE_HEADER": "1"},  # its own export wants them
                capture_output=True,
                text=True,
                check=False,
            )
            after = os.times()
        if done.returncode:
            print(f"multidimio's {name} failed: {done.stderr.strip().splitlines()[-1]}")
            continue
        cpu = (after.children_user - before.children_user) + (after.children_system - before.children_system)
        spent[name] = (cpu, seen.requests())
    return spent


def print_peer(peer: dict[str, tuple[float, Counter[str]]], survey: Path) -> None:
    """One line per job of multidimio, per GB of SEG-Y."""
    gigabytes = survey.stat().st_size / 1e9
    for name, (cpu, requests) in peer.items():
        print(
            f"{'mdio ' + name:12}{requests.total() / gigabytes:9.0f}"
            + "".join(f"{requests[method] / gigabytes:8.0f}" for method in METHODS)
            + f"{'':22}{cpu / gigabytes:8.2f}"
        )


def print_table(locally: dict[str, Spent], remotely: dict[str, Spent], survey: Path) -> None:
    """One line per verb, per GB of SEG-Y."""
    gigabytes = survey.stat().st_size / 1e9
    print(f"{gigabytes * 1000:,.0f} MB of SEG-Y on moto; all figures per GB of SEG-Y\n")
    print(
        f"{'':12}{'requests':>9}"
        + "".join(f"{method:>8}" for method in METHODS)
        + f"{'MB read':>10}{'MB written':>12}{'CPU s':>8}{'local':>8}{'client':>8}"
    )
    for name, spent in remotely.items():
        read, written = (n / 1e6 / gigabytes for n in (spent.traffic.bytes_read, spent.traffic.bytes_written))
        cpu, local = spent.cpu_seconds / gigabytes, locally[name].cpu_seconds / gigabytes
        print(
            f"{name:12}{spent.requests.total() / gigabytes:9.0f}"
            + "".join(f"{spent.requests[method] / gigabytes:8.0f}" for method in METHODS)
            + f"{read:10.0f}{written:12.0f}{cpu:8.2f}{local:8.2f}{cpu - local:8.2f}"
        )


if __name__ == "__main__":
    main()
