"""Tests of tasks.dataset."""
