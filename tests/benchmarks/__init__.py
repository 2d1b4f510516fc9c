"""Measurements beside other tools, by hand."""
