"""From Label Studio's annotations to the files that ultralytics trains on."""
