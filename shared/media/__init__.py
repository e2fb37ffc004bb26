"""Images and videos of tasks: which sources are allowed, fetching within limits, decoding to upright pixels.

`shared.media.fetch` imports neither numpy nor Pillow nor OpenCV; `shared.media.decode` imports all three.
"""
