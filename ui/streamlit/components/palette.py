"""The colors of figures and tables; those of everything else are in config.toml."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Palette:
    """Blue gains and orange losses stay apart for every kind of color vision."""

    text: str
    muted: str
    grid: str
    line: str
    fall: str
    gain: str
    loss: str
    gain_text: str
    loss_text: str
    # Behind text, so pale in the light and deep in the dark.
    gain_cell: str
    loss_cell: str
    flat_cell: str
    series: tuple[str, ...]


LIGHT = Palette(
    text="#16202C",
    muted="#51606F",
    grid="#D5DBE3",
    line="#0072B2",
    fall="rgba(184,74,0,0.16)",
    gain="#0072B2",
    loss="#B84A00",
    gain_text="#005A9C",
    loss_text="#9A3B00",
    gain_cell="#9CCBEA",
    loss_cell="#F3B98C",
    flat_cell="#F3F5F8",
    series=("#0072B2", "#B84A00", "#00795A", "#A34F7F"),
)
DARK = Palette(
    text="#E4E9F0",
    muted="#9BA8B7",
    grid="#2B3542",
    line="#56B4E9",
    fall="rgba(240,138,60,0.20)",
    gain="#56B4E9",
    loss="#F08A3C",
    gain_text="#7CC6F2",
    loss_text="#F6A868",
    gain_cell="#1D5F8F",
    loss_cell="#8A4A17",
    flat_cell="#171E27",
    series=("#56B4E9", "#F08A3C", "#2CC9A0", "#DE9CC0"),
)


def for_theme(kind: str | None) -> Palette:
    """The palette of what the browser shows; light until it has said."""
    return DARK if kind == "dark" else LIGHT
