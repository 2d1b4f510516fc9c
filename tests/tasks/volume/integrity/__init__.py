"""Tests of tasks.volume.protocol."""
