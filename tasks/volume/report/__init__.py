"""Pictures of a volume."""
