"""The whole way in Python: two sets, their scores, a verdict, a page. About a minute on one core.

Run it from anywhere:  python examples/score_in_python.py OUT
"""

import sys
from pathlib import Path

import ddranking
from ddranking.methods.baselines import make
from ddranking.scoring.statistics import compare_paired


def main(out: Path) -> None:
    """Scores k-means centroids and random selection of digits, and writes a page into ``out``."""
    real = ddranking.dataset("digits")
    records = [
        ddranking.score(
            make(name, real, ipc=1), track="digits-ipc1-convnet2", recipe="unified-digits"
        )
        for name in ("kmeans", "random")
    ]
    for record in records:
        record.save(out / "records" / f"{record.entry.digest[7:15]}.json")
        print(f"{record.entry.method}: HLR {record.hlr}, IOR {record.ior}, DDRS {record.ddrs()}")
    ours, theirs = (record.alpha(w=0.5).values for record in records)
    verdict = compare_paired(ours, theirs)
    print(f"paired difference of alpha: {verdict.difference}, p = {verdict.p_value:.2g}")
    print(ddranking.board(records, out / "site"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example"))
