"""SEG-Y as data: formats, headers, samples and geometry. Nothing here opens a store."""
