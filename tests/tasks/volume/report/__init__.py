"""Tests of tasks.volume.report."""
