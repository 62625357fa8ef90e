"""Real pictures of every format, bombs, and what chance makes of a file.

`data/pictures/*.heic` were made with pillow-heif, whose encoder no test should need, from `quarters`:
`turned` with EXIF orientation 6 (so that the encoder wrote an `irot` box) and a place, `alpha` with a
transparent middle, `deep` from a grey gradient of 16 bits (10 in the file).
"""

import io
import random
import struct
import zlib
from pathlib import Path

from PIL import Image

DATA = Path(__file__).parent / "data" / "pictures"
CORNERS = ("red", "lime", "blue", "yellow")
PLACE = b"a place that nobody should know"


def quarters(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """Red and lime above blue and yellow: what is turned, mirrored or miscoloured shows."""
    image = Image.new(mode, (width, height))
    for number, colour in enumerate(CORNERS):
        x, y = number % 2 * width // 2, number // 2 * height // 2
        image.paste(colour, (x, y, x + width // 2, y + height // 2))
    return image


def photograph(width: int, height: int) -> Image.Image:
    """Many colours, some noise: what JPEG is for."""
    noise = Image.frombytes("L", (width, height), random.Random(7).randbytes(width * height))
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, Image.blend(down, noise, 0.5)))


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def frames(kind: str, count: int = 3) -> bytes:
    first, *others = (Image.new("RGB", (40, 30), colour) for colour in CORNERS[:count])
    return written(first, kind, save_all=True, append_images=others, duration=100)


def exif(orientation: int = 1) -> bytes:
    """An EXIF block with an orientation, a place in its text, and coordinates."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = PLACE.decode()
    tags.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 29: PLACE.decode()})
    return tags.tobytes()


def every_format() -> dict[str, bytes]:
    """One picture of each type that is read, all of `quarters`."""
    image = quarters()
    return {
        "image/avif": written(image, "AVIF", quality=90),
        "image/bmp": written(image, "BMP"),
        "image/gif": written(image, "GIF"),
        "image/heic": (DATA / "turned.heic").read_bytes(),
        "image/jpeg": written(image, "JPEG", quality=95, subsampling=0),
        "image/png": written(image, "PNG"),
        "image/tiff": written(image, "TIFF", compression="tiff_lzw"),
        "image/vnd.microsoft.icon": written(quarters(64, 64), "ICO", sizes=[(64, 64)]),
        "image/webp": written(image, "WEBP", quality=95),
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, rows: bytes = b"") -> bytes:
    """A grey PNG that claims these sides, whatever its rows hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes `count` times more."""
    data = written(photograph(64, 64), "JPEG", progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[start:end] * count + data[end:]


def icon_of(inside: bytes) -> bytes:
    """An icon whose directory says 16 x 16, around a PNG that may say otherwise."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inside), 22) + inside


def swapping_profile() -> bytes:
    """An ICC profile (ICC.1:2010, 7 and 10) that shows red as green, green as blue, blue as red."""
    red, green, blue = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + struct.pack(">IIH", 0, 1, round(2.2 * 256)) + b"\0\0"
    text = b"desc" + struct.pack(">II", 0, 5) + b"swap\0" + bytes(12 + 67)
    tags = [
        (b"desc", text),
        (b"cprt", b"text" + bytes(4) + b"none\0"),
        (b"wtpt", b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)),
    ]
    tags += [
        (name, b"XYZ " + bytes(4) + fixed(*xyz))
        for name, xyz in ((b"rXYZ", green), (b"gXYZ", blue), (b"bXYZ", red))
    ]
    tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags:
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ "
    )
    header += struct.pack(">6H4sIIIIII", 2024, 1, 1, 0, 0, 0, b"acsp", 0, 0, 0, 0, 0, 0)
    header += struct.pack(">I", 0) + fixed(0.9642, 1, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The file as an accident, or somebody with time, might leave it."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed))
        match chance.randrange(6):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:  # a length, an offset or a side
                changed[at : at + 4] = chance.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff")
                )
            case 3:
                del changed[at : at + chance.randint(1, 32)]
            case 4:
                other = chance.randrange(len(changed))
                changed[at:at] = changed[other : other + chance.randint(1, 64)]
            case 5:
                # Headers are short, and there is where harm is done.
                changed[min(at, len(changed) - 1) % 64 % len(changed)] = chance.randrange(256)
        if not changed:
            return b"\0"
    return bytes(changed[: chance.randrange(len(changed))]) if chance.random() < 0.1 else bytes(changed)
