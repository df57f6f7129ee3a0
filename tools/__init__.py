"""What makes files of this repository out of tables: `make docs` runs it. None of it is installed."""
