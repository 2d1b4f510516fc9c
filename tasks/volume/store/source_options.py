"""Options of the sources' store, if it differs from the volumes' store.

Keys come from the environment, as all do: those of the sources have the same names after SEISMILL_SOURCE_, such as
SEISMILL_SOURCE_AWS_ACCESS_KEY_ID and SEISMILL_SOURCE_AWS_SECRET_ACCESS_KEY. A setting of the sources that is not given
is that of the volumes.
"""

import os

from tasks.parameters import StorageOptions

PREFIX = "source_"
VARIABLES = "SEISMILL_SOURCE_"


class SourceOptions(StorageOptions):
    """Options for the store of a source; its requests carry the credentials for sources."""

    def credential(self, name: str) -> str:
        """Return a variable of the environment that is meant for sources, such as AWS_PROFILE; empty if not set."""
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
