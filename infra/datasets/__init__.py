"""What a version learnt from: written as files that other programs read, and compared with another version's."""
