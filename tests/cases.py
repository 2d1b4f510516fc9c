"""Makers of inputs that once went wrong, each carried through the command line: the case, the right answer, ours.

``python -m tests.cases`` runs every maker in the folder cases of SEISMILL_SHARED and prints a row for each check. It
ends with 1 while an answer is wrong, a maker fails, or a maker has no check here. Names of makers select some of them:
``python -m tests.cases float_coordinates``. The right answers are those of the first lines of the makers.
"""

import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import zarr

from tests.support.command import SEISMILL
from tests.support.servers import EMULATORS, free_port, wait_for

SECONDS = 180  # for one command; on a machine that does nothing else none takes a tenth of this


@dataclass(frozen=True)
class Row:
    """One check of a case: what is wanted, what came, and whether that is right."""

    case: str
    wanted: str
    got: str
    right: bool


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (None: not in time), what it printed, and the JSON of its last line."""

    code: int | None
    said: str
    summary: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Place:
    """A folder of its own for one case, with the environment of its commands."""

    makers: Path
    folder: Path
    environment: Mapping[str, str]

    def make(self, maker: str, *arguments: str, **environment: str) -> None:
        """Run a maker; fail if it fails."""
        command = [sys.executable, str(self.makers / f"{maker}.py"), *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"the maker failed: {done.stderr.strip().splitlines()[-1]}")

    def seismill(self, *words: str, seconds: float = SECONDS, **environment: str) -> Ended:
        """Run a command to its end, or until its time is up."""
        began = time.monotonic()
        command = [*SEISMILL, *words]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={**self.environment, **environment},
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return Ended(None, "not in time", {}, time.monotonic() - began)
        last = (done.stdout.strip().splitlines() or [""])[-1]
        summary = json.loads(last) if last.startswith("{") else {}
        output = " ".join(f"{done.stderr} {done.stdout}".split())
        return Ended(done.returncode, output, summary, time.monotonic() - began)

    def array(self, path: str) -> Any:
        """A stored array below the folder."""
        return zarr.open_array(self.folder / path, mode="r")


def float_coordinates(place: Place) -> Iterator[tuple[str, str, bool]]:
    """Coordinates are floats, IEEE and IBM."""
    # An IBM float of six million has no half.
    wanted = {
        "ieee": "cdp_x 431955.25 to 432055.25, cdp_y 6348554.5 to 6348854.5",
        "ibm": "cdp_x 431955.25 to 432055.25, cdp_y 6348554.0 to 6348854.0",
    }
    for kind, answer in wanted.items():
        place.make("float_coordinates", f"{kind}.sgy", kind)
        ended = place.seismill("ingest-segy", f"{kind}.sgy", f"{kind}.zarr", "--json")
        got = ended.said
        if ended.code == 0:
            x, y = (place.array(f"{kind}.zarr/cdp_{axis}")[...] for axis in "xy")
            got = f"cdp_x {x.min()} to {x.max()}, cdp_y {y.min()} to {y.max()}"
        yield f"{kind}: {answer}", got, got == answer
        notes = " ".join(place.seismill("scan", f"{kind}.sgy", "--json").summary.get("notes", []))
        named = {"ieee": "float32", "ibm": "ibm32"}[kind]
        yield f"{kind}: scan names the type {named}", notes, named in notes


def imagej_depth_one(place: Place) -> Iterator[tuple[str, str, bool]]:
    """ImageJ leaves a spacing of 1 out."""
    place.make("imagej_depth_one")
    ended = place.seismill("ingest-images", "depth_one.tif", "out.zarr", "--json")
    got = ended.said
    if ended.code == 0:
        image = zarr.open_group(place.folder / "out.zarr", mode="r").attrs["ome"]["multiscales"][0]
        scale = image["datasets"][0]["coordinateTransformations"][0]["scale"]
        got = f"{scale} {[axis.get('unit', '') for axis in image['axes']]}"
    wanted = f"{[1.0, 0.5, 0.5]} {['micrometer'] * 3}"
    yield wanted, got, got == wanted


def lines_in_one_file(place: Place) -> Iterator[tuple[str, str, bool]]:
    """Three 2-D lines are no cube."""
    place.make("lines_in_one_file")
    scanned = place.seismill("scan", "lines.sgy", "--json").summary
    sentences = " ".join([scanned.get("error", ""), *scanned.get("notes", [])])
    right = "2-D lines" in sentences and "--split line" in sentences
    yield "scan says several 2-D lines and --split line", sentences, right
    ended = place.seismill("publish", "lines.sgy", "lines.zarr", "--no-flow", "--json")
    refused = ended.code == 3 and "--split line" in ended.said and not (place.folder / "lines.zarr").exists()
    yield "publish refuses, exit 3", f"exit {ended.code}: {ended.said}", refused
    ended = place.seismill("publish", "lines.sgy", "lines", "--split", "line", "--no-flow", "--json")
    got = ended.said
    if ended.code == 0:
        masters = [
            place.array(f"lines/{path.name}/amplitude")[...] for path in volumes(place.folder / "lines")
        ]
        got = str([(*values.shape, *np.unique(values).tolist()) for values in masters])
    wanted = str([(30, 30, 1000.0), (50, 30, 2000.0), (20, 30, 3000.0)])
    yield f"one volume each: {wanted}", got, got == wanted


def volumes(folder: Path) -> list[Path]:
    """The volumes in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(".zarr"))


def long_traces(place: Place) -> Iterator[tuple[str, str, bool]]:
    """More samples than 16 bits count."""
    place.make("long_traces")
    ended = place.seismill("scan", "long.sgy", "--json")
    count = ended.summary.get("format", {}).get("samples_per_trace", 0)
    yield "70000 samples", str(count or ended.said), count == 70000


def names_that_are_patterns(place: Place) -> Iterator[tuple[str, str, bool]]:
    """Keys with commas, brackets and @ can be named, and a sweep needs no such thing."""
    names = ("survey, v2.sgy", "survey [final].sgy", "at@25m.sgy")
    place.make("trailing_padding", "padded.sgy")
    content = (place.folder / "padded.sgy").read_bytes()[:-112]
    with s3_server() as environment:
        put_objects(environment, {name: content for name in names})
        for name in names:
            literal = f"s3://staging/{name}"
            escaped = "".join(f"\\{c}" if c in ",[]@*?" else c for c in name)
            ways = (literal, f"s3://staging/{quote(name)}", f"s3://staging/{escaped}")
            ended = [place.seismill("scan", way, "--json", **environment) for way in ways]
            codes = [run.code for run in ended]
            yield f"scan of {name!r}: 0 as it is, quoted or escaped", f"exit {codes}", 0 in codes
        words = ("s3://staging", "s3://volumes", "--settle-minutes", "0", "--no-flow", "--json")
        ended = [place.seismill("sweep", *words, "--steps", "proof", **environment)]
        counts = ended[0].summary.get("counts", {})
        yield "sweep: 3 published", str(counts or ended[0].said), counts.get("published") == 3
    inside = place.folder / "north [2]"
    inside.mkdir()
    (inside / "line_1.sgy").write_bytes(content)
    for source in ("north [2]/line_1.sgy", "north [2]/line_*.sgy"):
        ended = [place.seismill("scan", source, "--json")]
        yield f"scan {source!r}: exit 0", f"exit {ended[0].code}: {ended[0].said[-120:]}", ended[0].code == 0


def ome_labels(place: Place) -> Iterator[tuple[str, str, bool]]:
    """Levels of labels hold labels only."""
    place.make("ome_labels")
    ended = place.seismill("pyramid", "labelled.zarr", "--array", "labels/seg/0", "--levels", "1", "--json")
    got = ended.said
    if ended.code == 0:
        got = str(np.unique(place.array("labelled.zarr/labels/seg/1")[...]).tolist())
    yield "[0, 10, 200]", got, got == "[0, 10, 200]"


def packed_integers(place: Place) -> Iterator[tuple[str, str, bool]]:
    """Copies and levels of packed integers mean what the array does; or both are refused."""
    import xarray

    place.make("packed_integers")
    array = ("packed.zarr", "--array", "air")
    copied = place.seismill(
        "rechunk", *array, "--target", "copies.zarr", "--copy", "fast=24,8,8", "--presets", "",
        "--quality", "lossless", "--json",
    )  # fmt: skip
    levelled = place.seismill("pyramid", *array, "--target", "levels.zarr", "--levels", "1", "--json")
    if copied.code == levelled.code == 3:
        yield "refused, or equal values", "both refused", True
        return
    air = xarray.open_zarr(place.folder / "packed.zarr", consolidated=False).air
    got, right = copied.said, False
    if copied.code == 0:
        fast = xarray.open_zarr(place.folder / "copies.zarr", consolidated=False).fast
        got = (
            f"mean {float(fast.mean()):.2f}, {int(fast.isnull().sum())} NaN, units {fast.attrs.get('units')}"
        )
        right = np.array_equal(fast.values, air.values, equal_nan=True) and fast.attrs.get("units") == "K"
    yield "copy: mean 280.14, 468 NaN, units K", got, right
    got, right = levelled.said, False
    if levelled.code == 0:
        group = zarr.open_group(place.folder / "levels.zarr", mode="r")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of objects that are no arrays
            members = [name for name, _ in group.members(max_depth=None)]
        path = max((name for name in members if name.endswith("air")), default="1")
        level = xarray.open_zarr(
            place.folder / "levels.zarr", group=path.rpartition("/")[0], consolidated=False
        )
        values = level[path.rpartition("/")[2]].values
        low, high = np.nanmin(values), np.nanmax(values)
        got = f"{low:.1f} to {high:.1f}, mean {np.nanmean(values):.2f}"
        right = bool(np.nanmin(air) <= low and high <= np.nanmax(air) and abs(np.nanmean(values) - 280) < 1)
    yield "level: mean about 280, all within the range of the data", got, right


def permanent_configuration_errors(place: Place) -> Iterator[tuple[str, str, bool]]:
    """What no waiting mends is told at once, with the name of the setting."""
    (place.folder / "broken").write_text("[default\nregion=us-east-1\n")
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    (place.folder / "nothing").write_text("")
    none = {"AWS_CONFIG_FILE": "nothing", "AWS_SHARED_CREDENTIALS_FILE": "nothing"}
    with s3_server() as server:
        port = server["AWS_ENDPOINT_URL"].rpartition(":")[2]
        tries = {
            "AWS_PROFILE=nope": (keys | {"AWS_PROFILE": "nope"}, ("nope", "profile")),
            "AWS_CONFIG_FILE=broken": (keys | {"AWS_CONFIG_FILE": "broken"}, ("broken",)),
            "AWS_DEFAULT_REGION='us east 1'": (
                keys | {"AWS_DEFAULT_REGION": "us east 1"},
                ("us east 1", "region"),
            ),
            "https:// of plain HTTP": (
                keys | {"AWS_ENDPOINT_URL": f"https://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"},
                ("AWS_ENDPOINT_URL", "TLS"),
            ),
            "AWS_ENDPOINT_URL=127.0.0.1:9000": (
                keys | {"AWS_ENDPOINT_URL": f"127.0.0.1:{port}"},
                ("AWS_ENDPOINT_URL", "http://"),
            ),
            "no credentials": (none | {"AWS_EC2_METADATA_DISABLED": "true"}, ("no credentials",)),
        }
        for name, (settings, named) in tries.items():
            ended = place.seismill("scan", "s3://staging/a.sgy", seconds=30, **settings)
            right = ended.code in (2, 3) and any(word in ended.said for word in named) and ended.seconds < 20
            ending = "not in time" if ended.code is None else f"exit {ended.code}: {ended.said}"
            yield f"{name}: exit 2 or 3 at once, with its name", f"{ended.seconds:.0f} s, {ending}", right


def sweep_empty_folder_names(place: Place) -> Iterator[tuple[str, str, bool]]:
    """A sweep accounts for every key below its prefix."""
    with s3_server() as environment:
        place.make("sweep_empty_folder_names", **environment)
        words = ("s3://staging", "s3://volumes", "--settle-minutes", "0", "--no-flow", "--json")
        ended = place.seismill("sweep", *words, "--steps", "proof", **environment)
        summary = ended.summary
        counts = summary.get("counts", {})
        total = sum(value for value in counts.values() if isinstance(value, int))
        yield "counts of 5 keys", str(counts or ended.said), total == 5
        known = json.dumps(summary.get("attention", []))
        right = counts.get("published", 0) >= 3 or all(key in known for key in ("a//b.sgy", "/lead.sgy"))
        yield "a//b.sgy and /lead.sgy are published or quarantined", f"{counts} {known}", right


def trailing_padding(place: Place) -> Iterator[tuple[str, str, bool]]:
    """Zeros after the last trace come back."""
    place.make("trailing_padding")
    ended = place.seismill("ingest-segy", "padded.sgy", "out.zarr", "--json")
    got, right = ended.said, False
    if ended.code == 0:
        place.seismill("export-segy", "out.zarr", "back.sgy")
        right = filecmp.cmp(place.folder / "padded.sgy", place.folder / "back.sgy", shallow=False)
        got = "identical" if right else "different"
    yield "the export is identical", got, right


CHECKS: dict[str, Callable[[Place], Iterator[tuple[str, str, bool]]]] = {
    check.__name__: check
    for check in (
        float_coordinates,
        imagej_depth_one,
        lines_in_one_file,
        long_traces,
        names_that_are_patterns,
        ome_labels,
        packed_integers,
        permanent_configuration_errors,
        sweep_empty_folder_names,
        trailing_padding,
    )
}
NO_CASES = ("segymake",)  # what makers import


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """While open, an S3 server on loopback with the buckets staging and volumes empty; its environment."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(EMULATORS / "s3.py"), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"{endpoint}/moto-api/data.json", server)
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.terminate()
        server.wait(10)


def put_objects(environment: Mapping[str, str], objects: Mapping[str, bytes]) -> None:
    """Make both buckets, and put objects into staging under exactly these keys."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
    for bucket in ("staging", "volumes"):
        client.create_bucket(Bucket=bucket)
    for key, content in objects.items():
        client.put_object(Bucket="staging", Key=key, Body=content)


def rows(makers: Path, case: str) -> list[Row]:
    """The checks of one case, in a folder of its own."""
    if case not in CHECKS:
        return [Row(case, "a check in tests.cases", "none", False)]
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FSSPEC_", "PREFECT_", "SEISMILL_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        home = {"HOME": folder, "PREFECT_HOME": f"{folder}/.prefect", "FSSPEC_CONFIG_DIR": os.devnull}
        root = {"PYTHONPATH": str(Path(__file__).parent.parent)}
        place = Place(makers, Path(folder), kept | home | root)
        try:
            return [Row(case, *found) for found in CHECKS[case](place)]
        except Exception as error:  # one that cannot be carried out must not hide the others
            return [Row(case, "an answer", f"{type(error).__name__}: {error}", False)]


def main(names: list[str]) -> int:
    """Print a row for each check; return 1 if one is wrong."""
    shared = os.environ.get("SEISMILL_SHARED", "")
    if not shared:
        print("SEISMILL_SHARED does not name the folder with cases", file=sys.stderr)
        return 2
    makers = Path(shared).absolute() / "cases"
    cases = sorted(path.stem for path in makers.iterdir() if path.suffix in (".py", ".sh"))
    wrong = 0
    for case in names or [case for case in cases if case not in NO_CASES]:
        for row in rows(makers, case):
            wrong += not row.right
            mark = "right" if row.right else "WRONG"
            print(
                f"{mark}  {row.case}\n       wanted: {row.wanted}\n       got:    {row.got[:400]}", flush=True
            )
    print("all right" if not wrong else f"{wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
