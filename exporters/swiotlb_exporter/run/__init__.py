"""How the exporter runs: as a service or into a file, live or from a recording."""
