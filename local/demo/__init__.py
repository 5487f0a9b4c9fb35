"""`conceptry demo`: a concept from pictures in git to a served version and back, on this machine alone.

run.py        the folder, the servers, the contact sheet
story.py      the chapters
user.py       the user in it, who types git, dvc and conceptry
observer.py   what really happened, asked of the Prefect server and the Hub
console.py    what is printed, and the table at the end
subjects.py   what is taught
"""
