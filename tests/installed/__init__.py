"""The packages, installed and run where nothing else is (``make dist-test``)."""
