"""The page of metrics: its forms, the server it comes from, and who may see it."""
