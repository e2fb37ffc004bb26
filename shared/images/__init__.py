"""From the image value of a task to pixels: where it may come from, fetched in bounds, decoded upright.

`shared.images.fetch` needs neither numpy nor Pillow nor OpenCV; `shared.images.decode` imports all three.
"""
