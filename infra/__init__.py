"""Everything around the programs: the `labelloop` command, emulation on one machine, demo, images and deployment."""
