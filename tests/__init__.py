"""Tests, in the folders of the code; `support` makes their files, servers and processes."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
