"""Search spaces, one module per recipe family: `space()` maps a recipe's key paths to Ray Tune distributions.

Where not every combination is allowed, `allowed(values)` tells of one, by key path, whether it is.
"""
