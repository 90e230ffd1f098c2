"""What a compiled network becomes besides a ``.map``: one package for each real chip."""
