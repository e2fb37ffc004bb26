"""What the store tells people of projects: `labelloop status` and `versions` show it, and so does the page (`ui`)."""
