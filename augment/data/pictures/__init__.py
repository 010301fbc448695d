"""Files of pictures → pixels: decoded, brought to one shape and depth, mapped where many."""
