"""The subcommands of `labelloop` with their options, by subject; the modules of the folder above do the work."""
