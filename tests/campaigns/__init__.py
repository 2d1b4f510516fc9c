"""Every store, fault, kill and damage, many times over."""
