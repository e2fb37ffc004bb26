"""Tells people what happened: notices, posted to the address in LABELLOOP_NOTIFY_URL (docs/notices.md)."""
