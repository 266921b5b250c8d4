"""How text is cut into pieces that no token may cross (paper 1.3; the published tokenizer's seven steps).

Two forms of the same cut: the seven steps for `tokenizer.json`, and one regular expression for the fast encoder.
Written as code points, not glyphs: some look-alikes differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LETTERS = """
0041-005A 0061-007A 00B5 00C0-00D6 00D8-00F6 00F8-01BA 01BC-01BF 01C4-0293 0295-02AF 0370-0373 0376 0377 037B-037D
037F 0386 0388-038A 038C 038E-03A1 03A3-03F5 03F7-0481 048A-052F 0531-0556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA
1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D
1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113
2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4
2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A
FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943
"""
"""Cased scripts: Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee, Glagolitic, Coptic, Deseret, Osage, ..."""

PUNCTUATION = "0021-002F 003A-007E FF01-FF0F FF1A-FF5E 2018-201F 3000-3002"
"""ASCII's includes its letters, which the letter step has taken before."""

CJK = "4E00-9FA5 0800-4E00 AC00-D7FF"
"""The middle range sweeps in Indic, Thai, kana and many others, as in the published file."""

WHITE_SPACE = "0009-000D 0020 0085 00A0 1680 2000-200A 2028-2029 202F 205F 3000"
WIDE_BLANK = 0x3000


def code_points(ranges: str) -> set[int]:
    """The code points of `ranges`.

    >>> sorted(code_points("0041-0043 0061"))
    [65, 66, 67, 97]
    """
    points: set[int] = set()
    for part in ranges.split():
        first, _, last = part.partition("-")
        points.update(range(int(first, 16), int(last or first, 16) + 1))
    return points


def inside_class(points: Iterable[int]) -> str:
    r"""What stands between the brackets of a character class, e.g. `\x{41}-\x{43}\x{61}`."""
    out, ordered = [], sorted(points)
    start = previous = ordered[0]
    for point in [*ordered[1:], -1]:
        if point == previous + 1:
            previous = point
            continue
        out.append(rf"\x{{{start:X}}}" + (rf"-\x{{{previous:X}}}" if previous > start else ""))
        start = previous = point
    return "".join(out)


def seven_steps() -> Any:
    """The published pre-tokenizer, step by step, for Hugging Face `tokenizers`."""
    from tokenizers import Regex, pre_tokenizers

    letters, marks, cjk = (inside_class(code_points(c)) for c in (LETTERS, PUNCTUATION, CJK))
    patterns = (r"[\r\n]", rf"\s?[{letters}]+", rf"\s?[{marks}]+", r"\s+$", rf"[{cjk}]+")
    return pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False) for pattern in patterns),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
        ]
    )


def one_pattern() -> str:
    """One regular expression whose matches are exactly the pieces of the seven steps.

    The steps refine one another, which is not obvious from the list. Step 5 cuts *every* earlier piece where it
    enters or leaves the CJK range, and that range holds letters (U+1E00-1FFF, Vietnamese, polytonic Greek),
    punctuation (curly quotes) and blanks (U+2000-200A). Step 3's ranges hold the ASCII and full-width letters, so it
    cuts words between those and other letters. Step 6 takes digits out of CJK runs; step 4 cuts trailing U+3000,
    white space and punctuation at once, off a run of punctuation. Hence letters of three kinds, and every other
    class in two halves, outside (n) and inside (c) the CJK range.
    """
    letter, mark, white = code_points(LETTERS), code_points(PUNCTUATION), code_points(WHITE_SPACE)
    cjk, wide = code_points(CJK), rf"\x{{{WIDE_BLANK:X}}}"

    def one_of(points: set[int]) -> str:
        return f"[{inside_class(points)}]"

    any_letter, letter_p = one_of(letter), one_of(letter & mark)
    letter_n, letter_c = one_of(letter - mark - cjk), one_of(letter & cjk)
    mark_n, mark_c = one_of(mark - letter - cjk), one_of((mark & cjk) - {WIDE_BLANK})
    any_blank, blank_n = one_of(white - {10, 13}), one_of(white - cjk - {10, 13})
    blank_c, blank = one_of((white & cjk) - {WIDE_BLANK}), one_of(white - {10, 13, WIDE_BLANK})
    cjk_c = rf"[{inside_class(cjk - letter - mark - white)}--\p{{N}}]"
    other = rf"[^\s\p{{N}}{inside_class(letter | mark | cjk)}]"
    wide_mark = f"{wide}(?!{any_letter})"  # before a letter it is that letter's blank
    any_mark = f"(?:{mark_n}|{mark_c}|{wide_mark})"
    goes_on = rf"(?={blank}*(?:{cjk_c}|\p{{N}}|{other}))"  # white space in front of these is not trailing
    gives_one = f"(?={blank}*(?:{any_blank}{any_letter}|{blank}{any_mark}))"  # letters and marks take one blank
    return "|".join(
        (
            f"{blank_n}?{letter_p}+",
            f"{blank_n}?{mark_n}+",
            r"[\r\n]",
            r"\p{N}",
            f"{blank_n}?{letter_n}+",
            f"{blank_c}?{letter_c}+",
            f"{blank_c}?(?:{mark_c}|{wide_mark})*{mark_c}(?:(?:{wide_mark})++(?={mark_n}))?",
            f"{blank_c}?(?:{wide_mark})+",
            f"(?:{blank_n}|{other})*{other}(?:{blank_n}++{goes_on})?",
            f"(?:{blank_c}|{cjk_c})*{cjk_c}(?:{blank_c}++{goes_on})?",
            f"{blank_n}++{goes_on}",
            f"{blank_c}++{goes_on}",
            f"{blank_n}+{gives_one}",
            f"{blank_c}+{gives_one}",
            f"{any_blank}(?={any_letter}|{any_mark})",
            f"{blank_n}+",
            f"{blank_c}+",
        )
    )
