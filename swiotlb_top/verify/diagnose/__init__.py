"""Where kernel and model part: which operations are at fault, and whether that is certain."""
