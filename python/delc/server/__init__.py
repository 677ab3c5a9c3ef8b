"""The bridge to PostgreSQL: queries, errors, interrupts, progress, settings and memory limits."""
