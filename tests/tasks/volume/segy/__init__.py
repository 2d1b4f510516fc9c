"""Tests of tasks.volume.segy."""
