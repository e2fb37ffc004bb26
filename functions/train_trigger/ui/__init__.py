"""The page at `/ui`: projects, their versions and runs, and what a person may do about them. It keeps no state."""
