"""Reference systems: the generators of two student reports, as exactly as the reports allow."""
