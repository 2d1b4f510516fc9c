"""What the guide to migrating an archive shows, done with two files, one of which is damaged.

Covers sweeps/catalogue.py.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import zarr

from flows.cli import run
from tests import ROOT
from tests.support.survey import make_survey

GUIDE = (ROOT / "tasks/volume/sweeps/README.md").read_text()


def test_an_archive_is_migrated_as_the_guide_says(tmp_path: Path, capsys) -> None:
    staging, volumes = tmp_path / "staging", tmp_path / "volumes"
    (staging / "a").mkdir(parents=True)
    source = staging / "a" / "b.sgy"
    make_survey(source, n_samples=20, layout=(9, 21, 181, 185))
    (staging / "bad.sgy").write_bytes(b"no SEG-Y")
    (sidecar,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    written = re.sub("[0-9a-f]{32}", hashlib.md5(source.read_bytes()).hexdigest(), sidecar)
    (staging / "a" / "b.seismill.yaml").write_text(written)

    words = ["sweep", str(staging), str(volumes), "--no-flow", "--settle-minutes", "0"]
    assert run([*words, "--dry-run"]) == 0
    assert not volumes.exists()
    assert run(words) == 0
    volume = zarr.open_group(volumes / "a" / "b.zarr", mode="r")
    assert volume.attrs["seismill"]["attributes"]["survey"] == "Example 1987"
    assert {"fast_inline"} == {name for name in volume.array_keys() if name.startswith("fast_")}

    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    table = volumes / ".seismill"
    assert {path.name for path in table.glob("catalogue*")} >= {"catalogue.csv", "catalogue"}

    def releasable() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=table, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert releasable() == [str(source)]
    again = tmp_path / "again.sgy"
    assert run(["export-segy", str(volumes / "a" / "b.zarr"), str(again)]) == 0
    assert again.read_bytes() == source.read_bytes()

    make_survey(source, n_samples=20, layout=(9, 21, 181, 185), seed=2)  # another file by the same name
    capsys.readouterr()
    assert run([*words, "--retry", "quarantined"]) == 0
    assert releasable() == []
