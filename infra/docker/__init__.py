"""The images: a Dockerfile, and what their packages are pinned to."""
