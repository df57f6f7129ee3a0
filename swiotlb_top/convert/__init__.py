"""A recording in forms that other programs read: tables, and a timeline."""
