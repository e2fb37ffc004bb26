"""The `labelloop` command."""

import sys

if sys.platform == "win32":  # before anything loads fcntl, which is not there
    sys.exit(
        "labelloop: this command runs on Linux and macOS. On Windows run it inside WSL 2, or everything in Docker: "
        "docs/deploy/compose.md"
    )
