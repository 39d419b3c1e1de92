"""Pictures. To add one: a file with a function that takes numbers and returns a matplotlib Figure."""
