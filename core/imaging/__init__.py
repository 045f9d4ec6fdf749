"""Pictures as arrays, with NumPy and Pillow and no torch: drawing, outlines, COCO, PNG, metrics."""
