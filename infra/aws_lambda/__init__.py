"""Runs the functions on AWS Lambda."""
