"""The reports of commands that print once and end: on a recording, on a machine, on the known revisions."""
