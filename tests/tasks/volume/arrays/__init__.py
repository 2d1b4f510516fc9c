"""Tests of tasks.volume.arrays."""
