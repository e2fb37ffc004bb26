"""A loaded model: its loader, and the threads that it runs on. What it finds is worked out in `shared.inference`."""
