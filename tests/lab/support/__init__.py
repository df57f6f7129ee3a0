"""What tests in the lab have in common: the tool in a guest, ftrace, a scraped exporter, the bugs."""
