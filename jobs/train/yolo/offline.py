"""What ultralytics would download in the middle of a training, put where it looks first."""

import shutil
from pathlib import Path

_AMP_CHECK = "yolo26n.pt"  # the weights that ultralytics downloads to see whether half precision works
_FONTS = ("Arial.ttf", "Arial.Unicode.ttf")  # that it downloads for plots, also when it draws none


def place_downloads(folder: Path, weights: Path) -> None:
    """Put fonts below `folder` (YOLO_CONFIG_DIR), and `weights` in place of those that check half precision.

    The processes of a training on several GPUs find them there too.
    """
    import matplotlib
    from ultralytics.utils import WEIGHTS_DIR

    config = folder / "Ultralytics"
    config.mkdir(parents=True, exist_ok=True)
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in _FONTS:
        if not (config / name).exists():
            shutil.copyfile(font, config / name)
    WEIGHTS_DIR.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, WEIGHTS_DIR / _AMP_CHECK)
