"""What is measured of the bundled organism, and how it is asked."""
