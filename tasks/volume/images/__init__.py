"""Where voxels come from: files of slices in the formats of imaging labs, described before any voxel is read."""
