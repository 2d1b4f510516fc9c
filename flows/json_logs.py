"""Write logs as JSON lines on standard error, for log collectors (SEISMILL_LOGS=json).

`python -P -m flows.json_logs prefect worker start …` runs a module and turns its other output into JSON lines, too.
"""

import atexit
import io
import json
import logging
import os
import runpy
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

OPTION = "SEISMILL_LOGS"
# Prefect takes parts of its logging settings from such variables.
_SETTINGS = {
    f"PREFECT_LOGGING_HANDLERS_{handler}_CLASS": "flows.json_logs.JsonConsole"
    for handler in ("CONSOLE", "DEBUG")
}
_OF_A_RUN = ("flow_run_id", "flow_run_name", "flow_name", "task_run_id", "task_run_name")


class JsonLines(logging.Formatter):
    """Format a record as one JSON object: time, level, logger, message and run."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | {name: str(value) for name in _OF_A_RUN if (value := getattr(record, name, None))}
        if record.exc_info and record.exc_info[0]:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class JsonConsole(logging.StreamHandler[Any]):
    """Handler that writes JSON lines in place of Prefect's console handler; it ignores styles."""

    def __init__(self, stream: TextIO | None = None, styles: Mapping[str, str] | None = None) -> None:
        super().__init__(stream)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return JsonLines().format(record)


def is_json(line: str) -> bool:
    """Return whether a line is a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


class _Lines(io.TextIOBase):
    """Text stream that passes JSON lines on, and makes one of each other line."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name
        self._begun, self._lock = "", threading.Lock()

    def write(self, text: str) -> int:
        """Write the lines that this text completes."""
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            self._put(lines)
        return len(text)

    def _put(self, lines: list[str]) -> None:
        for line in lines:
            if line.strip() and not is_json(line):
                record = logging.LogRecord(self._name, logging.INFO, "", 0, line.rstrip(), None, None)
                line = JsonLines().format(record)
            if line.strip():
                self._stream.write(line + "\n")
        self._stream.flush()

    def finish(self) -> None:
        """Write an unfinished line, at the end of the process."""
        with self._lock:
            lines, self._begun = [self._begun], ""
            self._put(lines)

    def fileno(self) -> int:
        """Return the number of the stream below."""
        return self._stream.fileno()


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether logs are JSON lines."""
    return environment.get(OPTION) == "json"


def logging_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make Prefect's own processes write JSON lines; empty if JSON logs are off."""
    return _SETTINGS if wanted(environment) else {}


def use_json_lines() -> None:
    """Have every logger that writes to a console write JSON lines, if SEISMILL_LOGS=json."""
    if not wanted():
        return
    for logger in (logging.getLogger(), *logging.root.manager.loggerDict.values()):
        if not isinstance(logger, logging.Logger):
            continue
        for handler in list(logger.handlers):
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                lines = logging.StreamHandler(sys.stderr)
                lines.setLevel(handler.level)
                lines.setFormatter(JsonLines())
                logger.removeHandler(handler)
                logger.addHandler(lines)


if __name__ == "__main__":
    sys.stdout, sys.stderr = _Lines(sys.stdout, "stdout"), _Lines(sys.stderr, "stderr")
    atexit.register(sys.stdout.finish)
    atexit.register(sys.stderr.finish)
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
