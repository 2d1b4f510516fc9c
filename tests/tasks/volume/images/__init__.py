"""Tests of tasks.volume.images."""
