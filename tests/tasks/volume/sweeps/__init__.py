"""Tests of tasks.volume.sweeps."""
