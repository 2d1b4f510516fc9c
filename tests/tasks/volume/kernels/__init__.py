"""Tests of tasks.volume.kernels."""
