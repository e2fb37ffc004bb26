"""Smart tools: a click, or a rough box, of an annotator becomes the shape of an object that the model sees there."""
