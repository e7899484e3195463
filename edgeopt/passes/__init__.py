"""Graph passes: rewrites that preserve the function, one file each with its Before and After; pipelines.py runs them."""
