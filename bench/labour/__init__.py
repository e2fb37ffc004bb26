"""An annotator who is helped: what predictions save her, tile by tile, and what trainings on few tiles reach."""
