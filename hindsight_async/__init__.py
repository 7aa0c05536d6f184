"""Async Python SDK for the Hindsight win-loss interview API."""
