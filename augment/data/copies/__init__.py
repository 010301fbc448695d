"""Images that are one image: exact copies, near-copies, moved ones."""
