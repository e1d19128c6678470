"""Import of a history a business already has: described by a mapping, checked whole, then loaded in chunks."""
