"""docs/replay.md against the code it speaks of."""

import re
from pathlib import Path

from depthnet_ros.parameters import to_markdown
from depthnet_ros.sources.parameters import REPLAY_PARAMETERS, source_options

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "replay.md").read_text()


def test_the_table_of_parameters_is_the_declaration():
    table = PAGE.split("<!-- parameters -->\n")[1].split("<!-- end of parameters -->")[0]
    assert table == to_markdown(REPLAY_PARAMETERS)


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["frame"].rgb.shape == (240, 320, 3)
    assert 0 < names["cells"].mean() < 0.5


def test_parameters_become_options_of_the_source():
    values = {parameter.name: parameter.default for parameter in REPLAY_PARAMETERS}
    options = source_options({**values, "horizontal_fov_deg": 90.0, "width": 320, "topic": "/image"})
    assert options.horizontal_fov_rad == 3.141592653589793 / 2
    assert (options.width_px, options.rate_hz, options.topic) == (320, 30.0, "/image")
