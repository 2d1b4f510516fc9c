"""Coarser levels of an array."""
