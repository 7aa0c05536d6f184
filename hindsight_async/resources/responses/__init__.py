"""Questions to Hindsight, answered whole or as the words come."""
