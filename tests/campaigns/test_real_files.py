"""Every real SEG-Y file at hand comes back byte for byte, with the samples that others read in it."""

from pathlib import Path

import pytest

from tests.real_files import row_of, segy_files


@pytest.mark.slow
def test_every_valid_file_comes_back_with_the_samples_that_others_read(shared: Path) -> None:
    found = {path.name: row_of(path) for path in segy_files(shared / "data")}
    assert [name for name, row in found.items() if not row.right] == []
    assert [name for name, row in found.items() if row.refusal] == ["broken.sgy"]
    # The readers are no decoration: each reads some, and all that one of them reads is equal.
    assert sum(row.obspy == "equal" for row in found.values()) >= 6
    assert sum(row.segy == "equal" for row in found.values()) >= 10
