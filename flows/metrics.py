"""Write counters of the runs of this machine as Prometheus text, into the folder that SEISMILL_METRICS names.

Each run adds to counters in a file when it ends, under a lock, so that they persist across processes and restarts. The
text is written beside it, for node_exporter's textfile collector; `seismill metrics` serves it to a scraper.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from flows.summary import Summary
from tasks.volume.outcomes import InputRefused

FOLDER = "SEISMILL_METRICS"
TEXT, STATE = "seismill.prom", "seismill.json"
PORT = 9464

log = logging.getLogger(__name__)

Series = dict[str, dict[str, float]]

# By metric: what it says, and its labels. A counter ends in _total.
_METRICS = {
    "seismill_runs_total": ("Runs that ended, by how", ("verb", "outcome")),
    "seismill_seconds_total": ("Seconds that runs took", ("verb",)),
    "seismill_blocks_total": ("Blocks that were carried out, without those of earlier attempts", ("verb",)),
    "seismill_read_bytes_total": ("Bytes read from stores", ("verb",)),
    "seismill_written_bytes_total": ("Bytes written to stores", ("verb",)),
    "seismill_requests_total": ("Requests to stores, with retries", ("verb",)),
    "seismill_retries_total": ("Requests to stores that were repeated", ("verb",)),
    "seismill_last_end_seconds": ("When a run last ended, by how", ("verb", "outcome")),
    "seismill_quarantined": ("Sources in quarantine after the last sweep", ("volumes",)),
    "seismill_damaged": ("Damaged volumes in the last audit", ("volumes",)),
    "seismill_oldest_proof_seconds": (
        "When the published volume whose proof is oldest was proven",
        ("volumes",),
    ),
}


def note_run(verb: str, outcome: str, seconds: float, spent: Any, summary: Summary) -> None:
    """Add a run that ended to the counters, if SEISMILL_METRICS names a folder; errors of the disk are only logged.

    Args:
        verb: The flow's name.
        outcome: completed, or the name of an outcome such as input-refused; a completed dry run counts as planned.
        seconds: How long it took.
        spent: Traffic of this process during the run.
        summary: The run's, or an empty one.
    """
    if not os.environ.get(FOLDER):
        return
    counts: dict[str, Any] = summary.get("counts", {})
    dry = bool(summary.get("dry_run"))
    outcome = "planned" if dry and outcome == "completed" else outcome
    of_verb = {
        "seismill_seconds_total": seconds,
        "seismill_blocks_total": 0 if dry else summary.get("blocks_done", 0),
        "seismill_read_bytes_total": spent.bytes_read,
        "seismill_written_bytes_total": 0
        if dry
        else spent.bytes_written,  # of an estimate, to a temporary folder
        "seismill_requests_total": spent.requests,
        "seismill_retries_total": spent.retries,
    }
    now = datetime.now().timestamp()
    try:
        with _changed() as series:
            _add(series, "seismill_runs_total", (verb, outcome), 1)
            for name, value in of_verb.items():
                _add(series, name, (verb,), value)
            _set(series, "seismill_last_end_seconds", (verb, outcome), now)
            if counts and not dry:
                place = (str(summary.get("volumes", "")),)
                if verb == "sweep":
                    _set(series, "seismill_quarantined", place, counts.get("quarantined", 0))
                if verb == "audit":
                    _set(series, "seismill_damaged", place, counts.get("damaged", 0))
                if oldest := summary.get("oldest_proof"):
                    _set(
                        series,
                        "seismill_oldest_proof_seconds",
                        place,
                        datetime.fromisoformat(oldest).timestamp(),
                    )
    except OSError as error:
        log.warning("the metrics in %s cannot be written (%s)", os.environ[FOLDER], error.strerror)


def serve(port: int, *, until: Callable[[], object] = threading.Event().wait) -> None:
    """Serve the counters of this machine on /metrics until the process is stopped.

    Raises:
        InputRefused: SEISMILL_METRICS names no folder.
    """
    if not os.environ.get(FOLDER):
        raise InputRefused(
            f"{FOLDER} names no folder, so runs record no metrics; set it here and for the worker"
        )
    server, thread = start_http_server(port, registry=_registry())
    try:
        until()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Noted(Collector):
    """The counters as they are in the folder now."""

    def collect(self) -> Iterable[Metric]:
        """Yield each metric with its values."""
        series = _series(_folder() / STATE)
        for name, (words, labels) in _METRICS.items():
            family: Any = (
                CounterMetricFamily(name.removesuffix("_total"), words, labels=labels)
                if name.endswith("_total")
                else GaugeMetricFamily(name, words, labels=labels)
            )
            for key, value in series.get(name, {}).items():
                family.add_metric(json.loads(key), value)
            yield family


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Noted())
    return registry


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def _series(place: Path) -> Series:
    try:
        series: Series = json.loads(place.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        log.warning("%s is damaged; counters begin again from 0", place)
        return {}
    return series


@contextmanager
def _changed() -> Iterator[Series]:
    """Yield the counters under a lock; write them and their text afterwards."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        series = _series(folder / STATE)
        yield series
        new = folder / f"{STATE}.new"
        new.write_text(json.dumps(series))
        os.replace(new, folder / STATE)
        write_to_textfile(str(folder / TEXT), _registry())


def _add(series: Series, name: str, labels: tuple[str, ...], value: float) -> None:
    of_name = series.setdefault(name, {})
    key = json.dumps(labels)
    of_name[key] = of_name.get(key, 0) + value


def _set(series: Series, name: str, labels: tuple[str, ...], value: float) -> None:
    series.setdefault(name, {})[json.dumps(labels)] = value
