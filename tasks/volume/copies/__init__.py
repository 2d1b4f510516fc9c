"""Copies of a master in other chunks, mostly lossy."""
