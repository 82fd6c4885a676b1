"""Kubernetes' quantities in the one form in which its API server writes them back."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal

_FORM = re.compile(
    r"[+-]?(?P<whole>\d*)(?:\.(?P<part>\d*))?(?P<suffix>[eE][+-]?\d{1,3}|[numkMGTPE]|[KMGTPE]i)?\Z"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NANO = Decimal(1).scaleb(-9)
_LARGEST = 2**63 - 1
# Enough for the largest exponent that is taken and a billionth.
_EXACT = Context(prec=1100, Emax=2000, Emin=-2000)


def canonical(text: str) -> str | None:
    """The canonical form of a quantity ("1024Mi" is "1Gi", "0.5" is "500m"); None when it is no quantity.

    The rules are those of Kubernetes' reference: no precision is lost beyond a billionth, no fraction is
    written, the exponent is as large as possible; the kind of suffix (1000, 1024, exponent) stays. What
    Kubernetes takes for canonical at a glance stays letter by letter ("1.500", "+2").
    """
    text = text.strip()
    found = _FORM.match(text)
    if found is None or not (found["whole"] or found["part"]):
        return None
    whole, part, suffix = found["whole"].lstrip("0") or "0", found["part"] or "", found["suffix"] or ""
    value = Decimal(f"{'-' if text[0] == '-' else ''}{whole}.{part}")
    if suffix in _BINARY:
        if not part and _short_binary(whole, _BINARY[suffix]):
            return text
        return _binary(_EXACT.multiply(value, 2 ** _BINARY[suffix]))
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    if _short_decimal(whole + part, exponent - len(part)):
        return text
    names = {power: name for name, power in _DECIMAL.items()}
    if suffix not in _DECIMAL:
        names = {power: f"e{power}" if power else "" for power in range(-9, 999, 3)}
    return _decimal(_EXACT.scaleb(value, exponent), names)


def _short_decimal(digits: str, scale: int) -> bool:
    """Whether Kubernetes (apimachinery, ParseQuantity) leaves a decimal text as it is: 18 digits at most."""
    return (
        len(digits) <= 18
        and scale >= -9
        and scale % 3 == 0
        and digits[0] != "0"
        and not digits.endswith("000")
    )


def _short_binary(digits: str, exponent: int) -> bool:
    """The same of a binary one: by that function's estimate it fits 64 bits; it has no factor of eight."""
    return 14 - len(digits) - exponent * 3 // 10 >= 0 and int(digits) % 8 != 0


def _binary(value: Decimal) -> str:
    value = min(value, Decimal(_LARGEST))
    # Below 1024 the form has no suffix of 1024 that fits: decimal ones are used, for fractions too.
    if -1024 < value < 1024 or value != value.to_integral_value():
        return _decimal(value, {power: name for name, power in _DECIMAL.items()})
    whole, suffix = int(value), ""
    for name in _BINARY:
        if whole % 1024:
            break
        whole, suffix = whole // 1024, name
    return f"{whole}{suffix}"


def _decimal(value: Decimal, suffixes: dict[int, str]) -> str:
    value = value.quantize(_NANO, rounding=ROUND_UP, context=_EXACT)
    if not value:
        return "0"
    scaled, power = int(_EXACT.scaleb(value, 9)), -9
    while scaled % 1000 == 0 and power + 3 in suffixes:
        scaled, power = scaled // 1000, power + 3
    return f"{scaled}{suffixes[power]}"
