"""Arrays made from an array: the parts that copies and levels share."""
