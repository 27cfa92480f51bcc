"""Judging records: rankings, the page that shows them, and checks of what is handed in."""
