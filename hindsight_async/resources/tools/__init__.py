"""See the docstring of `hindsight_async`."""
