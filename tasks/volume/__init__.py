"""What a volume is, wherever it lies: stores, layout, blocks, the run protocol, codecs, SEG-Y, kernels."""
