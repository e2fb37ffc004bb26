"""Label Studio's protocols, as read in its source (1.23.2) and recorded from a running one."""
