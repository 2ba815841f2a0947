"""TPC-C: nine tables, five transactions, and what must hold between them."""
