"""From the image value of a task to pixels: where it may come from, fetched in bounds, decoded upright.

`shared.media.fetch` needs neither numpy nor Pillow nor OpenCV; `shared.media.decode` imports all three.
"""
