"""Define a volume: stores, arrays, blocks, the run protocol, codecs, SEG-Y, images, kernels."""
