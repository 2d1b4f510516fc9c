"""Tests of tasks.volume.copies."""
