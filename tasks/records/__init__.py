"""TFRecords of images: `photos` normalises one image, `duplicates` compares them, `build` writes the folder."""

from tasks.records.build import RecordsReport, build_records
from tasks.records.photos import Photo, normalise

__all__ = ["Photo", "RecordsReport", "build_records", "normalise"]
