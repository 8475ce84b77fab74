"""Search spaces, one module per recipe family: `space()` maps a recipe's key paths to Ray Tune distributions."""
