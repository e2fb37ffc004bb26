"""The job that writes predictions into Label Studio ahead of the annotators."""
