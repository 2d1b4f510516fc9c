"""Stacks of images as the master of a volume."""
