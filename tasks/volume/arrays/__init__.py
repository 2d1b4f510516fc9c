"""Stored arrays: shapes, chunk encoding, attributes for other tools, and reading."""
