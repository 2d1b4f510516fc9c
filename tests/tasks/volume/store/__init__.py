"""Tests of tasks.volume.store."""
