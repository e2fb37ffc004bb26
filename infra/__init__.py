"""What surrounds the programs: the `labelloop` command and the emulation on one machine."""
