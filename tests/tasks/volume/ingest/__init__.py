"""Tests of tasks.volume.ingest."""
