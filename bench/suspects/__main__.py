"""Plants errors in real annotations many times: how many are among the first that are worth a look.

`python -m bench.suspects`: seconds, from what `bench.suspects.record` recorded.
"""

import argparse
from collections import Counter

import numpy as np

from bench.suspects.record import FOLDS
from jobs.train.suspects import disputes
from tests.samples.planted import KINDS, drawn, hits_among, outcomes, plant, recorded


def main() -> None:
    """Print precision and recall."""
    parser = argparse.ArgumentParser(prog="python -m bench.suspects", description=__doc__)
    parser.add_argument("--first", type=int, default=20, help="of the list that are looked at")
    parser.add_argument("--seeds", type=int, default=50)
    given = parser.parse_args()
    labels, pictures = recorded()
    listed, right, planted, found = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    lengths, clean = [], []
    for fold in range(FOLDS):
        of_fold = [one for one in pictures if one["fold"] == fold]
        clean.append(len(disputes(outcomes(of_fold, drawn(of_fold)), range(len(labels)))))
        for seed in range(given.seeds):
            spoilt, errors = plant(drawn(of_fold), len(labels), np.random.default_rng(seed))
            every = disputes(outcomes(of_fold, spoilt), range(len(labels)))
            first = every[: given.first]
            hits = hits_among(first, errors, of_fold)
            lengths.append(len(every))
            listed.update(one.kind for one in first)
            right.update(one.kind for one, hit in zip(first, hits, strict=True) if hit is not None)
            planted.update(one.kind for one in errors)
            found.update(errors[hit].kind for hit in {hit for hit in hits if hit is not None})
    rows = [
        [
            kind,
            f"{planted[kind]}",
            f"{found[kind] / planted[kind]:.0%}",
            f"{listed[kind]}",
            f"{right[kind] / max(listed[kind], 1):.0%}",
        ]
        for kind in KINDS
    ]
    rows.append(
        [
            "all",
            f"{planted.total()}",
            f"{found.total() / planted.total():.0%}",
            f"{listed.total()}",
            f"{right.total() / listed.total():.0%}",
        ]
    )
    print("| error | planted | of them found | listed | of them planted |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(f"listed of the annotations as they are: {clean}; with errors {np.mean(lengths):.1f}")


if __name__ == "__main__":
    main()
