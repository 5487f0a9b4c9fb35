"""`make templates`: record the templates of Space and handler as they are; see TEMPLATES_REVISION in render.py."""

import json

from tasks.space.render import TEMPLATES_RECORD, templates_record

if __name__ == "__main__":
    TEMPLATES_RECORD.write_text(json.dumps(templates_record(), indent=2) + "\n", encoding="utf-8")
