"""A recording is hostile input: recordings with their payloads changed and their checksums made right again."""
