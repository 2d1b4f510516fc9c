"""What a dataset knows of its volume beyond its variables: `ds.seismill`."""

from typing import Any

import xarray

from tasks.dataset.opened import Opened
from tasks.volume.outcomes import InputRefused

ENCODED = "seismill"  # where a dataset's encoding holds what it was opened from


@xarray.register_dataset_accessor("seismill")
class SeismillAccessor:
    """The volume behind a dataset that `engine="seismill"` opened."""

    def __init__(self, dataset: xarray.Dataset) -> None:
        """Take the dataset."""
        self._dataset = dataset

    @property
    def _opened(self) -> Opened:
        opened: Any = self._dataset.encoding.get(ENCODED)
        if not isinstance(opened, Opened):
            raise InputRefused(
                "this dataset does not say which volume it is of; use the dataset that "
                'xarray.open_dataset(url, engine="seismill") returned, or a selection of it'
            )
        return opened
