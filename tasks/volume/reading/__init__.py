"""Read any selection of a volume: from the array that is fastest for it, by indexes or by positions on the ground."""
