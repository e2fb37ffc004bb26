"""Names to addresses and connections to them, each within one deadline."""
