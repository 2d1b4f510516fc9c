"""Tests of tasks.volume.stacks."""
