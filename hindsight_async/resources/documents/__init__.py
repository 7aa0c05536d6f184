"""Uploads: recordings and notes to a deal, papers to the library."""
