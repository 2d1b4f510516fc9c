"""What other tools find in a volume."""
