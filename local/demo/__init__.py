"""`conceptry demo`: a concept from images in git to a served version and back, on this machine alone.

run_demo.py        the folder, the servers, the contact sheet
story.py           the chapters
user.py            the user in it, who types git, dvc and conceptry
observer.py        the state on the Prefect server and on the Hub
story_console.py   output, and the table at the end
subjects.py        the concepts
"""
