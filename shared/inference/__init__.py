"""What runs a graph, without torch and ultralytics: whoever predicts, gates or prelabels finds the same."""
