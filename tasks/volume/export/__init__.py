"""Write a volume back to SEG-Y files."""
