"""Everything on one machine: both functions under functions-framework, a sweeper, and a real Label Studio."""
