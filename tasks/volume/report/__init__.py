"""The report of a volume: pictures, tables and one HTML page."""
