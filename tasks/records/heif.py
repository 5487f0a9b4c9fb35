"""The decoder of HEIC and HEIF, which iPhones and newer cameras write.

pi-heif is pillow-heif without its encoders: 5 MB instead of 26. Either does.
"""

try:
    from pi_heif import register_heif_opener
except ModuleNotFoundError:
    from pillow_heif import register_heif_opener

__all__ = ["register_heif_opener"]
