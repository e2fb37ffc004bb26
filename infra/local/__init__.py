"""Everything on one machine: both functions under functions-framework, a sweeper, the local launcher, and the demo."""
