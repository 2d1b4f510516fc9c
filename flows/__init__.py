"""Seismill's flows and command line: read parameters, run stages, show results.

Prefect and Dask are imported below this package only where a run needs them, so that `seismill --help` stays quick.
"""

import logging

# Prefect sends the lines of loggers named in PREFECT_LOGGING_EXTRA_LOGGERS to its server, but sets no level for them.
logging.getLogger("tasks").setLevel(logging.INFO)
