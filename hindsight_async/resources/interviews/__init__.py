"""Interviews: created, read, updated, one or many, and waited for."""
