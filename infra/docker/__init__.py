"""The container images: Dockerfile and pinned packages."""
