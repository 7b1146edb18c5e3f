"""Numbers as people say them: 124M parameters, 548 MB."""

from __future__ import annotations


def count(number: int) -> str:
    """Three significant digits: 1234 -> 1.23K, 124439808 -> 124M."""
    return _scaled(number, ("", "K", "M", "B", "T"), "")


def size(bytes_: int | None) -> str:
    """Decimal units, as disks and the Hub use them: 548105171 -> 548 MB; None -> unknown."""
    return "unknown" if bytes_ is None else _scaled(bytes_, ("B", "kB", "MB", "GB", "TB"), " ")


def _scaled(number: int, units: tuple[str, ...], space: str) -> str:
    value = float(number)
    for unit in units:
        if value < 999.5 or unit == units[-1]:
            break
        value /= 1000
    digits = 0 if unit == units[0] or value >= 99.95 else 1 if value >= 9.995 else 2
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text}{space}{unit}"
