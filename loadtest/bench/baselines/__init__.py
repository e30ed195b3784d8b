"""What Tallystick is compared with: nothing at all, plain copying, and what is written by hand."""
