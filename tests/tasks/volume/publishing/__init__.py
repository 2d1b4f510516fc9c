"""Tests of tasks.volume.publishing."""
