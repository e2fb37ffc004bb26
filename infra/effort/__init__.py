"""What annotators had to do, read from Label Studio: what predictions saved, and what more labels would bring."""
