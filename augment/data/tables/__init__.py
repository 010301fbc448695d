"""Tables and annotation files beside images: labels, splits and groups of each image."""
