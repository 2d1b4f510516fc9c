"""Logs as JSON lines on standard error, for what collects them: SEISMILL_LOGS=json."""

import json
import logging
import os
import sys
from datetime import UTC, datetime

OPTION = "SEISMILL_LOGS"
_OF_A_RUN = ("flow_run_id", "flow_run_name", "flow_name", "task_run_id", "task_run_name")


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and the run that it is of."""

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


def use_json_lines() -> None:
    """Have every logger that writes to a console write JSON lines, if SEISMILL_LOGS=json."""
    if os.environ.get(OPTION) != "json":
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
