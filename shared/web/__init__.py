"""The HTTP side that both functions share: routes, access rules, the backend protocol, calls to the other function."""
