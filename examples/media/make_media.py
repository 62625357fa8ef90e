"""Make the ten sample files beside this script again: `python make_media.py`.

Needs the Python packages fpdf2, pillow and python-docx, and Debian's espeak-ng and ffmpeg. With the
same versions of all five a second run writes the same bytes: dates are pinned and noise is seeded.
"""

import io
import math
import random
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import docx
from fpdf import FPDF
from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

HERE = Path(__file__).resolve().parent
PINNED = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    for make in (photo, diagram, sticker, wave_gif, voice, jingle, clip, invoice, notes, readme):
        make()


def photo() -> None:
    """A lake at dawn, stored turned by a quarter: only a reader of its EXIF shows it upright."""
    w, h, shore = 960, 640, 400
    picture = gradient(w, h, [(38, 52, 96), (140, 110, 150), (250, 176, 130), (255, 222, 160)])
    sun = Image.new("L", (w, h))
    ImageDraw.Draw(sun).ellipse((570, 205, 670, 305), fill=255)
    for radius in (50, 1):
        picture.paste((255, 244, 206), mask=sun.filter(ImageFilter.GaussianBlur(radius)))
    ridges = ((300, 50, (150, 118, 146)), (345, 36, (92, 82, 122)), (385, 20, (44, 48, 84)))
    waves = ((3, 1.0), (7, 0.6), (17, 0.24), (41, 0.16))
    for n, (base, height, colour) in enumerate(ridges, start=1):
        tops = [sum(a * math.sin(n * (k * x / w + 5)) for k, a in waves) for x in range(2 * w)]
        line = [(x, 2 * base - height * top) for x, top in enumerate(tops)]
        mask = Image.new("L", (2 * w, 2 * h))
        ImageDraw.Draw(mask).polygon([(0, 2 * h), *line, (2 * w, 2 * h)], fill=255)
        picture.paste(colour, mask=mask.resize((w, h), Image.Resampling.LANCZOS))
    above = picture.crop((0, 2 * shore - h, w, shore))
    lake = ImageOps.flip(above.filter(ImageFilter.BoxBlur((12, 2))))
    picture.paste(Image.blend(lake, Image.new("RGB", lake.size, (30, 52, 88)), 0.3), (0, shore))
    noise = Image.frombytes("L", (w, h), random.Random(2026).randbytes(w * h)).convert("RGB")
    picture = Image.blend(picture, ImageChops.add(picture, noise, offset=-128), 0.03)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turn it 90 degrees clockwise to show it
    exif[ExifTags.Base.ImageDescription] = "A lake at dawn, drawn by make_media.py"
    picture.transpose(Image.Transpose.ROTATE_90).save(HERE / "photo.jpg", quality=82, exif=exif)


def diagram() -> None:
    """The life of a location, as a row of boxes and arrows on white."""
    picture = Image.new("RGB", (1000, 150), "white")
    draw, ink = ImageDraw.Draw(picture), "#32364a"
    boxes = {"unknown": "white", "live": "#caecd6", "condemned": "#ffe2b2", "gone": "#e2e4ec"}
    for x, (name, fill) in zip(range(20, 1000, 267), boxes.items(), strict=True):
        draw.rounded_rectangle((x, 43, x + 160, 107), 14, fill, ink, 2)
        draw.text((x + 80, 75), name, ink, ImageFont.load_default(24), "mm")
    for x, label in ((180, "put"), (447, "last ref ends"), (714, "reap")):
        draw.line((x, 75, x + 100, 75), ink, 3)
        draw.polygon([(x + 107, 75), (x + 93, 67), (x + 93, 83)], ink)
        draw.text((x + 50, 56), label, ink, ImageFont.load_default(15), "mm")
    picture.quantize(64, dither=Image.Dither.NONE).save(HERE / "diagram.png", optimize=True)


def sticker() -> None:
    """A smiling cat with a white rim on a transparent ground."""
    cat = Image.new("RGBA", (1024, 1024))
    draw = ImageDraw.Draw(cat)
    fur, dark, pink = "#fab054", "#462e28", "#f68c8c"
    outer, inner = [(320, 150), (345, 520), (90, 300)], [(290, 220), (310, 420), (160, 310)]
    draw.ellipse((150, 260, 874, 900), fur)
    for side in (-1, 1):
        for colour, ear in ((fur, outer), (pink, inner)):
            draw.polygon([(512 + side * x, y) for x, y in ear], colour)
        draw.circle((512 + side * 160, 530), 56, dark)
        draw.circle((522 + side * 160, 508), 20, "white")
        draw.arc((451 + side * 55, 640, 573 + side * 55, 750), 0, 180, dark, 16)
    draw.polygon([(462, 640), (562, 640), (512, 696)], pink)
    cat = cat.resize((256, 256), Image.Resampling.LANCZOS)
    rim = Image.new("RGBA", cat.size, "white")
    rim.putalpha(cat.getchannel("A").filter(ImageFilter.MaxFilter(15)))
    Image.alpha_composite(rim, cat).save(HERE / "sticker.webp", quality=85, method=6)


def wave_gif() -> None:
    """Two sine waves that run for ever, in sixteen shades of blue."""
    w, h, steps, frames = 240, 120, 20, []
    shades = gradient(1, 16, [(16, 24, 64), (40, 120, 190), (190, 240, 255)])
    for step in range(steps):
        frame = Image.new("L", (2 * w, 2 * h))
        for waves, reach, light in ((1, 70, 7), (2, 44, 15)):
            angles = [math.tau * (waves * x / w / 2 - step / steps) for x in range(2 * w)]
            line = [(x, h + reach * math.sin(angle)) for x, angle in enumerate(angles)]
            ImageDraw.Draw(frame).line(line, light, 9, "curve")
        frames.append(frame.resize((w, h), Image.Resampling.BOX))
        frames[-1].putpalette(shades.tobytes())
    frames[0].save(HERE / "wave.gif", append_images=frames[1:], save_all=True, duration=50, loop=0)


def voice() -> None:
    """A spoken message as a chat app sends it: mono Opus in Ogg."""
    speak = ["espeak-ng", "--stdout", "Hello! The photos of the lake are in the shared folder."]
    spoken = subprocess.check_output(speak)
    encode("voice.ogg", "-i -", "-c:a libopus -b:a 24k -application voip -ac 1", spoken)


def jingle() -> None:
    """Eight bell notes of one chord, with ID3 tags."""
    tune = bells([523.25, 659.26, 783.99, 1046.5, 783.99, 1046.5, 1318.51, 1046.5], 0.2, 2.6)
    tags = "-metadata title=Jingle -metadata artist=mediakeep -metadata date=2026"
    encode("jingle.mp3", tune, f"-c:a libmp3lame -b:a 96k -id3v2_version 3 {tags}")


def clip() -> None:
    """A ball that bounces for two seconds, with a bell each time it lands."""
    frames = []
    for step in range(50):
        frame = gradient(640, 480, [(250, 214, 180), (246, 236, 214), (150, 190, 170)])
        centre = 40 + 11 * step, 390 - 290 * abs(math.sin(math.tau * step / 50))
        ImageDraw.Draw(frame).circle(centre, 36, (214, 72, 66))
        frames.append(frame.resize((320, 240), Image.Resampling.LANCZOS).tobytes())
    source = f"-f rawvideo -pix_fmt rgb24 -s 320x240 -r 25 -i - {bells([392.0, 523.25], 1.0, 2.0)}"
    # Type 6 is the message in which x264 writes its version and settings.
    codecs = "-c:v libx264 -crf 26 -pix_fmt yuv420p -bsf:v filter_units=remove_types=6 -c:a aac"
    file = f"-movflags +faststart -metadata creation_time={PINNED:%Y-%m-%dT%H:%M:%SZ}"
    encode("clip.mp4", source, f"{codecs} {file}", b"".join(frames))


def invoice() -> None:
    """One A4 page in a font that every reader has."""
    pdf = FPDF()
    pdf.set_creation_date(PINNED)
    pdf.set_producer("mediakeep")
    pdf.add_page()
    pdf.set_font("Helvetica", size=14)
    head = "**Invoice 2026-001**\nDate: 1 January 2026\nFrom: Sample Studio\nTo: Sample Customer"
    body = "2 photos of a lake: 80.00\n1 jingle: 25.00\n**Total: 105.00**"
    pdf.multi_cell(0, 10, f"{head}\n\n{body}", markdown=True)
    pdf.output(str(HERE / "invoice.pdf"))


def notes() -> None:
    """A Word document with a heading and a list, every date in it pinned."""
    document = docx.Document()
    document.add_heading("Notes from the lake")
    document.add_paragraph("We met at dawn. The light was good, and so was the café.")
    for line in ("Send the photo to the group", "Cut the clip to two seconds", "Pay the invoice"):
        document.add_paragraph(line, style="List Bullet")
    core = document.core_properties
    core.title, core.author, core.comments = "Notes from the lake", "mediakeep", ""
    core.created = core.modified = PINNED
    # python-docx's template brings a thumbnail, the name of another program and spare styles.
    for rels in (document.part.package.rels, document.part.rels):
        for key, rel in list(rels.items()):
            if rel.reltype.endswith(("/thumbnail", "/extended-properties", "/stylesWithEffects")):
                del rels[key]
    document.save(saved := io.BytesIO())
    with ZipFile(saved) as old, ZipFile(HERE / "notes.docx", "w") as new:
        for name in old.namelist():
            new.writestr(ZipInfo(name, PINNED.timetuple()[:6]), old.read(name), ZIP_DEFLATED, 9)


def readme() -> None:
    """Plain text in UTF-8, in several scripts."""
    text = "Sample text in UTF-8: Grüße, café, Привет, שלום, こんにちは, 你好, 10 €, 🐈\n"
    (HERE / "readme.txt").write_text(text, encoding="utf-8", newline="\n")


def gradient(width: int, height: int, stops: list[tuple[int, int, int]]) -> Image.Image:
    """Blend colours from top to bottom."""
    column = Image.new("RGB", (1, len(stops)))
    column.putdata(stops)
    return column.resize((width, height), Image.Resampling.BICUBIC)


def bells(pitches: list[float], gap_seconds: float, seconds: float) -> str:
    """Strike a bell every `gap_seconds`, at `pitches` in hertz: the sound as an input of ffmpeg."""
    strikes = []
    for strike, pitch in enumerate(pitches):
        t = f"(t-{strike * gap_seconds:.2f})"
        tone = f"(sin(2*PI*{pitch}*{t})+0.3*exp(-6*{t})*sin(5.52*PI*{pitch}*{t}))"
        strikes.append(f"gte({t},0)*exp(-4*{t})*{tone}")
    return f"-f lavfi -i aevalsrc='0.2*({'+'.join(strikes)})':s=44100:d={seconds}"


def encode(name: str, source: str, options: str, stdin: bytes = b"") -> None:
    """Have ffmpeg encode `source`, leaving out the clock and its own version."""
    exact = "-map_metadata -1 -threads 1 -fflags +bitexact -flags +bitexact"
    command = f"ffmpeg -v error -y {source} {exact} {options}".split()
    subprocess.run([*command, str(HERE / name)], input=stdin, check=True)


if __name__ == "__main__":
    main()
