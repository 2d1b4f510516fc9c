"""Read voxels from files of slices in the formats of imaging labs; each file is described before a voxel is read."""
