"""Read source files into the lossless array of a volume."""
