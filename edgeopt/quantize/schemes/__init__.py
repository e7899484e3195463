"""Ways to quantize beside static int8: dynamic int8, 16-bit floats, weights alone as 8- or 4-bit blocks; one module each."""
