"""The read API and the page."""
