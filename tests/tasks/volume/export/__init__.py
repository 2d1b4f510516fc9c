"""Tests of tasks.volume.export."""
