"""Tests of tasks.volume.derived."""
