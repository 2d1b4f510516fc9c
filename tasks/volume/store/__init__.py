"""Objects below a prefix, on local disk, in memory or in a cloud."""
