"""`make faults`: the real programs beside real servers while things break at random moments; what is promised holds."""
