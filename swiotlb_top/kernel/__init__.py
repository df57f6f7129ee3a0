"""What this kernel is, as it says itself: types, symbols, hooks, settings, and its own counters."""
