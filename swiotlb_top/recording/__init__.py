"""A recording as what it holds: description, events, mappings, failures, tables."""
