"""From events to snapshots: what was counted, in whose hands the slots are, and what that means."""
