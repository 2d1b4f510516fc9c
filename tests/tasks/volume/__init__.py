"""The parts of a volume."""
