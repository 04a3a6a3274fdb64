"""The hosted demo: a private, short-lived project for each visitor."""
