"""Tests of tasks.volume.pyramid."""
