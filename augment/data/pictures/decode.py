"""An image file → pixels of the size asked for, or the reason why it cannot be read.

Pixel formats: 1, L, LA, 16-bit grey → grey; everything else → RGB; one colour image makes the whole
set RGB. Transparent images are laid on white. What is deeper than 8 bits is read at its depth and
scaled for the whole set (`deep`). EXIF rotation is applied. Of several pages the first is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from augment.data.pictures.deep import TIFF_MAGICS, Sketch, deep_pixels, sketch
from augment.data.pictures.dicom import dicom_header, dicom_pixels, is_dicom
from augment.data.pictures.fitting import fit_image, fit_pixels
from augment.data.pictures.framing import Frame

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".webp", ".avif", ".heic", ".heif", ".pgm", ".ppm", ".pbm", ".pnm", ".jp2", ".j2k", ".tga"),
    *(".dcm", ".dicom"),
)
# Recognised by content, whatever the suffix; not EPS and the like, which would start a program.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA", "AVIF")
PAGED = ("TIFF", "GIF", "WEBP", "AVIF")  # not JPEG: further frames of a phone's are previews
# codes in bytes 8 to 12 of files that begin with an `ftyp` box, ISO 23008-12
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MAX_PIXELS = 50_000_000  # larger images are refused before they are decoded
HEAD_BYTES = 132  # of a file, by which its format is told
EXIF_ORIENTATION = 0x0112  # the tag
EXIF_TRANSPOSED = (5, 6, 7, 8)  # orientations that swap width and height; Pillow does it for TIFF


class Header(NamedTuple):
    """What a file says of itself."""

    width: int  # pixels, upright
    height: int
    mode: str  # Pillow's
    pages: int = 1  # of which the first is read
    transparent: bool = False  # in parts; known once it is decoded, of 8 bits a channel


class Pixels(NamedTuple):
    """A decoded image."""

    pixels: np.ndarray  # [H, W] or [H, W, 3], uint8, or float32 where deeper than 8 bits
    sketch: Sketch | None = None  # of the values of a deep one, before it was resized


class Picture(NamedTuple):
    """A file that could be read."""

    header: Header
    decoded: Pixels | None  # None where the head alone was asked for


def read_picture(path: Path, frame: Frame | None, page: int = 0) -> Picture | str:
    """Read an image into a frame, its head alone without one; or return why that cannot be.

    Deep pixels are left unscaled: the set as a whole decides on its range (`stacking`).
    """
    try:
        if not path.is_file():  # a named pipe would be waited for without end
            return "missing, a broken link or no regular file"
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if not head:
                return "empty file"
            if is_dicom(head):
                return _read_dicom(file, frame, page)
            return _read_image(file, head, frame, page)
    except MemoryError:  # the machine's fault, not the file's
        raise
    except Exception as error:  # damaged bytes break decoders in any way they like
        return _reason(error)


def _read_dicom(file: BinaryIO, frame: Frame | None, page: int) -> Picture:
    """Read an open DICOM file."""
    header = Header(*dicom_header(file))
    _refuse_large(header.width, header.height)
    return Picture(header, frame and _fit_deep(dicom_pixels(file, page), frame))


def _read_image(file: BinaryIO, head: bytes, frame: Frame | None, page: int) -> Picture:
    """Read an open file that Pillow, torchvision or tifffile knows."""
    image = _open(file, head)
    if image is None:  # a TIFF that tifffile reads
        header, orientation = _tiff_header(file, page), 1
        _refuse_large(header.width, header.height)
    else:
        if page:
            image.seek(page)
        width, height = image.size
        _refuse_large(width, height)
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        if orientation in EXIF_TRANSPOSED and image.format != "TIFF":  # Pillow has done it there
            width, height = height, width
        pages = getattr(image, "n_frames", 1) if image.format in PAGED else 1
        header = Header(width, height, image.mode, pages)
    if frame is None:
        return Picture(header, None)
    deep = deep_pixels(file, head, image, page)
    if deep is not None:
        # the TIFFs that Pillow reads it has turned itself
        turned = image is not None and image.mode.startswith("I") and image.format == "TIFF"
        return Picture(header, _fit_deep(deep if turned else _upright(deep, orientation), frame))
    assert image is not None  # else `deep_pixels` has read it or raised
    opaque, transparent = _to_grey_or_rgb(image)
    header = header._replace(transparent=transparent)
    return Picture(header, Pixels(fit_image(opaque, frame)))


def _refuse_large(width: int, height: int) -> None:
    """Raise ValueError for more pixels than are decoded."""
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}×{height}: more than {MAX_PIXELS:,} pixels")


def _open(file: BinaryIO, head: bytes) -> Image.Image | None:
    """Open with Pillow; None for a TIFF that Pillow does not know."""
    file.seek(0)
    formats: list[str] = list(FORMATS)
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        formats.append(_heif_format())
    try:
        # by handle: Pillow 13 maps a raw TIFF given by path, and scrambles it if it is turned
        return Image.open(file, formats=formats)
    except UnidentifiedImageError:
        if not head.startswith(TIFF_MAGICS):
            raise
        file.seek(0)
        return None


def _heif_format() -> str:
    """Return the name of the format HEIF, which Pillow reads with an extra."""
    try:
        import pi_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("HEIC needs the extra: pip install 'augment-compare[heic]'") from None
    pi_heif.register_heif_opener()
    return "HEIF"


def _tiff_header(file: BinaryIO, page_number: int) -> Header:
    """Read the head of a TIFF that Pillow does not know."""
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages[page_number].aspage()
            return Header(page.imagewidth, page.imagelength, str(page.dtype), len(tiff.pages))
    except (tifffile.TiffFileError, IndexError):
        raise UnidentifiedImageError from None


def _to_grey_or_rgb(opened: Image.Image) -> tuple[Image.Image, bool]:
    """Decode an 8-bit image, upright and on white, in mode L or RGB; tell if it shines through."""
    opened.load()
    upright = opened.getexif().get(EXIF_ORIENTATION, 1) == 1
    image = opened if upright else ImageOps.exif_transpose(opened)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range: save as 8 or 16 bits")
    if "A" in image.mode or "transparency" in image.info:
        grey = image.mode in ("1", "L", "LA")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        transparent = image.getchannel("A").getextrema()[0] != 255
        return Image.alpha_composite(white, image).convert("L" if grey else "RGB"), transparent
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image, False


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn [H, W(, 3)] as EXIF's orientation says."""
    if orientation in EXIF_TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _fit_deep(pixels: np.ndarray, frame: Frame) -> Pixels:
    """Fit deep pixels into a frame; their values are summarised before."""
    if pixels.ndim == 2:
        return Pixels(fit_pixels(pixels, frame), sketch(pixels))
    channels = [fit_pixels(channel, frame) for channel in np.moveaxis(pixels, 2, 0)]
    return Pixels(np.stack(channels, 2), sketch(pixels))


def _reason(error: Exception) -> str:
    """Return the decoder's message without the path, which the caller names itself."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
