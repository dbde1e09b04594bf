#!/usr/bin/env python3
"""Draws, sounds and writes the scene captions of this folder. Python 3 with its standard library; the same files every time.

    python3 make.py

A caption is written with marks: <left> is a word that a mirror must exchange, {loud} one that must follow the level of the scene.
What a rule must do is worked out from the marks alone, so that the expectation does not come from the code under test.
"""
import json, math, os, random, re, struct, wave, zlib

W, H, OVER = 80, 56, 3
RATE = 8000
HERE = os.path.dirname(os.path.abspath(__file__))

COLOURS = {
    "red": (200, 45, 40), "blue": (45, 85, 200), "green": (50, 150, 70), "yellow": (225, 195, 50), "brown": (130, 85, 50),
    "black": (40, 40, 45), "white": (235, 235, 230), "orange": (230, 130, 40), "gray": (130, 130, 135),
}
MIRROR = {"left": "right", "leftmost": "rightmost", "left-hand": "right-hand"}
MIRROR.update({v: k for k, v in MIRROR.items()})
LOW = {"loud": "quiet", "loudly": "quietly", "noisy": "quiet", "bright": "dark", "brightly": "dimly", "deafening": "quiet"}
HIGH = {"quiet": "loud", "quietly": "loudly", "dark": "bright", "dim": "bright", "dimly": "brightly"}


# ---- pictures: polygons and ellipses in a unit square, sampled OVER x OVER times a pixel ----

def poly(*points):
    def inside(x, y):
        hit, j = False, len(points) - 1
        for i, (xi, yi) in enumerate(points):
            xj, yj = points[j]
            if (yi > y) != (yj > y) and x < (xj - xi) * (y - yi) / (yj - yi) + xi:
                hit = not hit
            j = i
        return hit
    return inside


def ellipse(cx, cy, rx, ry):
    return lambda x, y: ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1.0


def box(x0, y0, x1, y1):
    return lambda x, y: x0 <= x <= x1 and y0 <= y <= y1


DARK, EYE, GLASS = (30, 30, 35), (250, 250, 245), (170, 210, 230)
# Each object looks to the left; None is the object's own colour.
OBJECTS = {
    "dog": [(None, ellipse(.58, .55, .30, .17)), (None, ellipse(.24, .36, .17, .15)), (None, box(.36, .6, .44, .95)), (None, box(.74, .6, .82, .95)),
            (None, poly((.82, .5), (.98, .25), (1, .3), (.88, .58))), (DARK, poly((.28, .25), (.42, .25), (.38, .52))), (DARK, ellipse(.09, .38, .04, .04)), (EYE, ellipse(.2, .32, .035, .035))],
    "cat": [(None, ellipse(.55, .68, .25, .27)), (None, ellipse(.35, .34, .2, .19)), (None, poly((.18, .28), (.17, .02), (.34, .17))), (None, poly((.38, .17), (.53, .02), (.53, .28))),
            (None, poly((.75, .85), (.95, .55), (1, .6), (.8, .95))), (EYE, ellipse(.28, .32, .04, .05)), (EYE, ellipse(.42, .32, .04, .05)), (DARK, ellipse(.35, .42, .03, .02))],
    "car": [(None, poly((0, .72), (.02, .5), (.24, .45), (.36, .2), (.74, .2), (.86, .46), (1, .52), (1, .72))), (GLASS, poly((.3, .44), (.39, .26), (.53, .26), (.53, .44))),
            (GLASS, poly((.58, .26), (.71, .26), (.79, .44), (.58, .44))), (DARK, ellipse(.24, .74, .12, .15)), (DARK, ellipse(.76, .74, .12, .15)), ((255, 240, 160), ellipse(.04, .56, .03, .05))],
    "bird": [(None, ellipse(.52, .5, .27, .2)), (None, ellipse(.25, .32, .14, .14)), (COLOURS["orange"], poly((.12, .28), (0, .35), (.13, .38))), (DARK, poly((.42, .42), (.8, .42), (.62, .66))),
             (None, poly((.74, .45), (1, .35), (1, .55))), (EYE, ellipse(.22, .29, .04, .04)), (COLOURS["orange"], box(.45, .66, .48, .95)), (COLOURS["orange"], box(.56, .66, .59, .95))],
    "bell": [(None, poly((.35, .2), (.65, .2), (.75, .62), (.88, .78), (.12, .78), (.25, .62))), (DARK, ellipse(.5, .85, .1, .1)), (DARK, box(.45, .05, .55, .2)), (EYE, poly((.38, .28), (.43, .28), (.38, .6), (.33, .6)))],
    "train": [(None, box(.12, .38, .62, .72)), (None, box(.62, .12, .98, .72)), (DARK, poly((.2, .38), (.17, .08), (.36, .08), (.33, .38))), (GLASS, box(.7, .22, .9, .42)),
              (DARK, ellipse(.24, .8, .1, .14)), (DARK, ellipse(.5, .8, .1, .14)), (DARK, ellipse(.8, .8, .13, .16)), (COLOURS["yellow"], ellipse(.1, .5, .04, .06))],
}
FONT = {  # 5 x 7, a row a number
    "A": (14, 17, 17, 31, 17, 17, 17), "B": (30, 17, 30, 17, 17, 17, 30), "E": (31, 16, 30, 16, 16, 16, 31), "F": (31, 16, 30, 16, 16, 16, 16), "I": (14, 4, 4, 4, 4, 4, 14),
    "K": (17, 18, 20, 24, 20, 18, 17), "N": (17, 25, 21, 19, 17, 17, 17), "O": (14, 17, 17, 17, 17, 17, 14), "P": (30, 17, 17, 30, 16, 16, 16), "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 14, 1, 1, 1, 30), "T": (31, 4, 4, 4, 4, 4, 4), "X": (17, 10, 4, 4, 4, 10, 17), "2": (14, 17, 1, 6, 8, 16, 31), "4": (2, 6, 10, 18, 31, 2, 2), "7": (31, 1, 2, 4, 8, 8, 8),
}


def picture(path, light, things, writing=None):
    """things: (name, colour, x, y, width, height, flipped), in pixels."""
    sky, ground = ((196, 222, 240), (140, 190, 110)) if light == "bright" else ((40, 44, 66), (30, 52, 40)) if light == "dark" else ((150, 170, 190), (110, 140, 95))
    rows = []
    for py in range(H):
        row = []
        for px in range(W):
            total = [0, 0, 0]
            for sy in range(OVER):
                for sx in range(OVER):
                    x, y = px + (sx + .5) / OVER, py + (sy + .5) / OVER
                    colour = sky if y < H * .62 else ground
                    for name, own, ox, oy, ow, oh, flipped in things:
                        u, v = (x - ox) / ow, (y - oy) / oh
                        if not (0 <= u <= 1 and 0 <= v <= 1):
                            continue
                        u = 1 - u if flipped else u
                        for paint, inside in OBJECTS[name]:
                            if inside(u, v):
                                base = COLOURS[own] if paint is None else paint
                                colour = tuple(int(c * .45) for c in base) if light == "dark" else base
                    for c in range(3):
                        total[c] += colour[c]
            row.append([t // (OVER * OVER) for t in total])
        rows.append(row)
    if writing:
        word, x0, y0 = writing
        for py in range(y0 - 2, y0 + 9):
            for px in range(x0 - 2, x0 + 6 * len(word) + 1):
                rows[py][px] = [245, 245, 240]
        for i, letter in enumerate(word):
            for dy, bits in enumerate(FONT[letter]):
                for dx in range(5):
                    if bits >> (4 - dx) & 1:
                        rows[y0 + dy][x0 + 6 * i + dx] = [20, 20, 20]
    raw = b"".join(b"\0" + bytes(v for p in row for v in p) for row in rows)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


# ---- sounds: a value for a time within the event of length d ----

def voice(name, rng):
    k = rng.uniform(.9, 1.1)
    partials = lambda t, f, n, fall: sum(math.sin(2 * math.pi * f * i * t) / i ** fall for i in range(1, n + 1))
    if name == "dog":
        return lambda t, d: partials(t, (380 - 260 * (t % (d / 2)) / d) * k, 6, .7) * math.exp(-((t % (d / 2)) - .06) ** 2 / .0025) * .45
    if name == "cat":
        return lambda t, d: partials(t, (470 + 130 * math.sin(math.pi * t / d)) * k, 5, 1.1) * math.sin(math.pi * t / d) * .55
    if name == "car":
        return lambda t, d: (partials(t, 330 * k, 5, 1) + partials(t, 415 * k, 5, 1)) * .28
    if name == "bird":
        return lambda t, d: math.sin(2 * math.pi * (2100 + 900 * ((t * 9) % 1)) * k * t) * max(0, math.sin(math.pi * ((t * 9) % 1))) * .9
    if name == "bell":
        return lambda t, d: sum(a * math.sin(2 * math.pi * 620 * k * m * t) * math.exp(-t * q) for a, m, q in ((.5, 1, 4), (.35, 2.0, 6), (.25, 2.76, 8), (.2, 5.4, 12)))
    return lambda t, d: (math.sin(2 * math.pi * 311 * k * t) + math.sin(2 * math.pi * 370 * k * t) + math.sin(2 * math.pi * 466 * k * t)) * .22 + .25 * rng.uniform(-1, 1) * (.5 + .5 * math.sin(2 * math.pi * 8 * t))


def sound(path, name, place, level, rng):
    """place: 0 left to 1 right. Writes the file, returns when the event begins and ends."""
    length = rng.randrange(4000, 4500)
    start, end = rng.randrange(400, 700), length - rng.randrange(400, 700)
    make, d = voice(name, rng), (end - start) / RATE
    values = [make((i - start) / RATE, d) * min(1, (i - start) / 160, (end - i) / 160) if start <= i < end else 0.0 for i in range(length)]
    peak = max(abs(v) for v in values)
    left, right = math.cos(place * math.pi / 2), math.sin(place * math.pi / 2)
    with wave.open(path, "wb") as out:
        out.setnchannels(2), out.setsampwidth(2), out.setframerate(RATE)
        frames = bytearray()
        for v in values:
            v = v / peak * level
            for side in (left, right):
                frames += struct.pack("<h", round((v * side + rng.gauss(0, .002)) * 32767))
        out.writeframes(bytes(frames))
    return round(start / RATE, 4), round(end / RATE, 4)


# ---- captions ----

VERB = {"dog": "barks", "cat": "meows", "car": "honks", "bird": "chirps", "bell": "rings", "train": "whistles"}
# A: what sounds, on side S; B: the other thing, on side O. C and D are their colours.
PLAIN = [
    ("a @c @a on the <S> and a @d @b on the <O>", None, None),
    ("The @a to the <S> of the @b {loudly} @v", "loud", None),
    ("a {loud} @a on the <S>, a @b on the <O>", "loud", None),
    ("A {quiet} @a stands at the far <S> of the picture", "quiet", None),
    ("a {bright} sky over a @c @a on the <S>", None, "bright"),
    ("a {dark} street with a @a in the lower <S> corner", None, "dark"),
    ("the <Smost> thing is a @c @a, the <Omost> one a @b", None, None),
    ("A {dimly} lit scene: a @a on the <S>-hand side", None, "dark"),
    ("From the <S> a @a @v {quietly}, to the <O> sits a @b", "quiet", None),
    ("one {loud} @c @a by the <S> edge on a {bright} day", "loud", "bright"),
    ("a small @d @b on the <O> while a big @c @a on the <S> @v", None, None),
    ("The <S> half shows a @c @a, the <O> half a @d @b.", None, None),
    ("{Loud} @a on the <S>", "loud", None),
    ("a {noisy} @a at the <S> edge, night, {dark} sky", "loud", "dark"),
    ("a @a and a @b side by side", None, None),
    ("a @c @a @v", None, None),
]
# (caption, flip, level of sound or light, the way in which the level rule must refuse, name of the trap)
TRAPS = [
    ("what is left of the cake stands beside a @c @a", "keep", None, None, "what is left"),
    ("the right answer is a @c @a", "keep", None, None, "the right answer"),
    ("the @a left the room and a @b stays on the <O>", "swap", None, None, "left the room, and a side"),
    ("a @b after the @a left early", "keep", None, None, "left early"),
    ("everything is all right, a @a @v", "keep", None, None, "all right"),
    ("the @a @v right now", "keep", None, None, "right now"),
    ("the @a turned left", "refuse", None, None, "turned left"),
    ("the right @a", "refuse", None, None, "the right one, which?"),
    ("nothing left but a @c @a", "keep", None, None, "nothing left"),
    ("a @a right in front of a wall", "keep", None, None, "right in front"),
    ("it is the right place for a @a", "keep", None, None, "the right place"),
    ("the @a left", "refuse", None, None, "a sentence that ends in left"),
    ("two minutes left for the @a", "keep", None, None, "minutes left"),
    ("a dog with its <S> paw raised beside a @a", "swap", None, None, "laterality"),
    ("human rights are not sold beside a @c @a", "keep", None, None, "rights"),
    ("a bright idea: a @a in a garden", "keep", "bright", None, "bright idea"),
    ("a light lunch beside a @a", "keep", None, None, "light lunch"),
    ("home before dark with a @c @a", "keep", "dark", None, "before dark"),
    ("someone talks out loud while a @a @v", "keep", "loud", None, "out loud"),
    ("a bright child watches a @a", "keep", "bright", "down", "a bright child: clever?"),
    ("the @a waits quietly", "keep", "quiet", "up", "calm or quiet?"),
    ("a traffic light and a @c @a", "keep", None, None, "traffic light"),
    ("the @a is louder than the @b", "keep", "loud", None, "a comparison"),
    ("peace and quiet and a @a", "keep", "quiet", "up", "peace and quiet"),
    ("a @c @a beside a shop on the left", "refuse", None, None, "writing that no word tells of"),
    ("a @c @a under a sign", "refuse", None, None, "a sign"),
    ("the number 42 above a @a on the right", "refuse", None, None, "a number"),
    ("\"turn left\", calls the driver of the @a", "refuse", None, None, "quoted"),
    ("a dark horse and a @c @a", "keep", "dark", None, "dark horse"),
    ("the door is left open, a @a @v {loudly}", "keep", "loud", None, "left open"),
]
WRITTEN = {"writing that no word tells of": "BAKER", "a sign": "STOP", "a number": "42"}


def caption(text, a, b, colours, side, verb):
    other = {"left": "right", "right": "left"}[side]
    text = re.sub(r"<Smost>", f"<{side}most>", text).replace("<Omost>", f"<{other}most>")
    text = text.replace("<S>-hand", f"<{side}-hand>").replace("<S>", f"<{side}>").replace("<O>", f"<{other}>")
    for mark, word in (("@a", a), ("@b", b), ("@c", colours[0]), ("@d", colours[1]), ("@v", verb)):
        text = text.replace(mark, word)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def swap(text, marks, table):
    def one(match):
        word = match.group(1)
        new = table.get(word.lower(), word.lower())
        return new.capitalize() if word[0].isupper() else new
    return re.sub(marks, one, text)


def plain(text):
    return re.sub(r"[<>{}]", "", text)


def main():
    rng = random.Random(20240229)
    for folder in ("images", "audio"):
        os.makedirs(os.path.join(HERE, folder), exist_ok=True)
        for old in os.listdir(os.path.join(HERE, folder)):
            os.remove(os.path.join(HERE, folder, old))
    names = list(OBJECTS)
    counts = {"train": 64, "val": 20, "test": 20}
    number, deck = 0, []
    for split, count in counts.items():
        lines = []
        for i in range(count):
            if not deck:
                deck = rng.sample(names, len(names))
            a = deck.pop()
            b = rng.choice([n for n in names if n != a])
            side = rng.choice(("left", "right"))
            colours = [rng.choice(list(COLOURS)), rng.choice(list(COLOURS))]
            trap = None
            # Every trap once in train, and some in the other splits.
            if split == "train" and i % 2 == 1 and i // 2 < len(TRAPS):
                trap = TRAPS[i // 2]
            elif split != "train" and i % 4 == 3:
                trap = TRAPS[rng.randrange(len(TRAPS))]
            if trap:
                text, flip, word, unsure, trap_name = trap
                loud, light = (word, None) if word in ("loud", "quiet") else (None, word)
            else:
                text, loud, light = PLAIN[number % len(PLAIN)] if split != "train" else PLAIN[(i // 2 if i < 60 else i) % len(PLAIN)]
                flip, unsure, trap_name = ("swap" if "<" in text else "keep"), None, None
            marked = caption(text, a, b, colours, side, VERB[a])
            written = WRITTEN.get(trap_name)
            scene_id = f"{split}-{i:03}"
            line = {"id": scene_id, "label": a, "text": plain(marked)}
            # A modality is missing now and then, never where a trap needs it.
            missing = {5: "audio", 12: "image"}.get(i % 20) if not trap else None
            wide, high = rng.randrange(22, 31), rng.randrange(20, 29)
            at = {"left": rng.randrange(1, 8), "right": W - wide - rng.randrange(1, 8)}
            things = [(a, colours[0], at[side], rng.randrange(16, 25), wide, high, rng.random() < .5)]
            if "@b" in text:
                other = "right" if side == "left" else "left"
                things.append((b, colours[1], at[other], rng.randrange(16, 25), wide, high, rng.random() < .5))
            if missing != "image":
                path = f"images/{scene_id}.png"
                picture(os.path.join(HERE, path), light or "plain", things, written and (written, 24 if len(written) < 5 else 22, 4))
                line["image"] = path
                line["boxes"] = [{"x": t[2], "y": t[3], "width": t[4], "height": t[5], "label": t[0]} for t in things]
            if missing != "audio":
                path = f"audio/{scene_id}.wav"
                level = {"loud": .6, "quiet": .12}.get(loud, .3)
                start, end = sound(os.path.join(HERE, path), a, .12 if side == "left" else .88, level, rng)
                line["audio"] = path
                line["events"] = [{"start_s": start, "end_s": end, "label": VERB[a]}]
            line["readable"] = bool(written)
            line["flip"] = flip
            if flip != "refuse":
                line["mirrored"] = plain(swap(marked, r"<([^>]+)>", MIRROR))
            for way, table in (("down", LOW), ("up", HIGH)):
                if unsure == way:
                    line[way] = "refuse"
                    continue
                heard = lambda w: missing != "audio" if w.lower() in ("loud", "loudly", "quiet", "quietly", "noisy", "deafening") else missing != "image"
                known = {w: o for w, o in table.items() if heard(w)}
                line[way] = plain(swap(marked, r"\{([^}]+)\}", known))
            if trap_name:
                line["trap"] = trap_name
            lines.append(line)
            number += 1
        with open(os.path.join(HERE, f"{split}.jsonl"), "w") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
