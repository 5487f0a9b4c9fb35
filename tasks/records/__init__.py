"""TFRecords of images: `photos` normalises one image, `duplicates` compares them, `build_records` writes all."""

from tasks.records.build_records import RecordsReport, build_records
from tasks.records.photos import Photo, normalise

__all__ = ["Photo", "RecordsReport", "build_records", "normalise"]
