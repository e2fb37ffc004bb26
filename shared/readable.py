"""Names from outside, as a page or a terminal may show them. Pure."""


def readable(text: str) -> str:
    """Without characters that nobody sees, that turn around the text beside them or that steer a terminal."""
    plain = (" " if character.isspace() else character for character in text)
    return "".join(character for character in plain if character.isprintable())
