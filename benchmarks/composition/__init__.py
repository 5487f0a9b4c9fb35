"""Hard prompts: does a token still mean its concept beside another object, and on another ground?

On `tiny` the plain prompt, "a photo of <token>", is right in all pictures after 40 steps, so it cannot tell good tokens
from better ones. This package has a base model that was trained further on pictures of two shapes and of coloured
grounds (`scenes`), and a second judge that knows them. Both are made by

    python -m benchmarks.composition --output FOLDER

in about 20 minutes on 2 cores; `python -m benchmarks.ablation --composition FOLDER` uses them.
"""
