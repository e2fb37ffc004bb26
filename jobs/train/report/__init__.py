"""The report of a version: one HTML file for people, without scripts, with pictures inside."""
