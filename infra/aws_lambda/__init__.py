"""AWS Lambda as the place of a function: its events, its secrets."""
