"""Names from outside, as a page may show them. Pure."""


def readable(text: str) -> str:
    """Without characters that nobody sees or that turn around the text beside them."""
    plain = (" " if character.isspace() else character for character in text)
    return "".join(character for character in plain if character.isprintable())
