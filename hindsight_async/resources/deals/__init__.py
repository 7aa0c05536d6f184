"""Deals that Hindsight follows: read, walked over, filtered, exported."""
