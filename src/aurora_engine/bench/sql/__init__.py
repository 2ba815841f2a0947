"""SQL: the same statements through the drivers of several engines."""
