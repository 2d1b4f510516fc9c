"""Publish many sources: staging, sidecars and the catalogue."""
