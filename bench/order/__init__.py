"""The experiment of docs/order.md: in which order a person should annotate, played on real photographs."""
