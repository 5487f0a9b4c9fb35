"""A concept's Space: a Gradio app that reads settings.json and draws with the released version.

Run it as it lies in the repo: `python space_template/app.py`. In a rendered Space app.py lies at the root, beside
settings.json, this package and the trainer modules that it draws with.
"""
