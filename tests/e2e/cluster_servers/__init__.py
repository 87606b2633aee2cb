"""Faults of servers, bad records, compaction, rebuilds and moving up, on real servers."""
