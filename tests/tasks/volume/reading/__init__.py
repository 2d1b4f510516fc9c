"""Tests of tasks/volume/reading."""
