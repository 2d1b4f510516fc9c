"""Options of the sources' store, if it differs from the volumes' store.

Credentials come from environment variables. Those of the sources have the usual names with the prefix SEISMILL_SOURCE_,
such as SEISMILL_SOURCE_AWS_ACCESS_KEY_ID and SEISMILL_SOURCE_AWS_SECRET_ACCESS_KEY. A setting that is not given for
sources is the same as for volumes.
"""

import os

from tasks.parameters import StorageOptions

PREFIX = "source_"
VARIABLES = "SEISMILL_SOURCE_"


class SourceOptions(StorageOptions):
    """Options for the store of a source; its requests carry the credentials for sources."""

    def credential(self, name: str) -> str:
        """Return the source's variant of an environment variable, such as AWS_PROFILE; empty if it is not set."""
        return os.environ.get(VARIABLES + name, "")


def of_sources(options: StorageOptions) -> StorageOptions:
    """Return the options for reading sources; unchanged if none is set for sources."""
    if isinstance(options, SourceOptions):
        return options
    own = {
        name.removeprefix(PREFIX): value
        for name in type(options).model_fields
        if name.startswith(PREFIX) and (value := getattr(options, name))
    }
    if not own and not any(name.startswith(VARIABLES) for name in os.environ):
        return options
    usual = {
        name: getattr(options, name) for name in type(options).model_fields if not name.startswith(PREFIX)
    }
    return SourceOptions(**(usual | own))


def credential_of(options: StorageOptions, name: str) -> str:
    """Return the value of an environment variable that is for these options only; empty if it is not set."""
    return options.credential(name) if isinstance(options, SourceOptions) else ""
