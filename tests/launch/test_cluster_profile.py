"""A cluster's profile is read as it is meant, or refused with what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.launch.cluster_profile import Profile, read_profile


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_is_a_profile(repository: Path) -> None:
    profile = read_profile(repository / "slurm" / "example.toml")
    assert profile.partition == "gpu"
    assert profile.gpus_per_node == 4
    assert profile.shared == (Path("/home"), Path("/project"))


def test_every_field_is_explained(repository: Path) -> None:
    text = (repository / "slurm" / "README.md").read_text(encoding="utf-8")
    table = text.partition("## The profile")[2]
    for name in Profile.__dataclass_fields__:
        assert f"`{name}`" in table


def test_an_empty_profile_leaves_everything_to_the_cluster(tmp_path: Path) -> None:
    assert read_profile(written(tmp_path, "")) == Profile()


def test_values_arrive_with_their_types(tmp_path: Path) -> None:
    text = """
        memory_gb = 1.5
        setup = ["module load a", "export B=c"]
        scratch = "/scratch"
        options = { "mail-type" = "END", exclusive = true, nice = 10 }
    """
    profile = read_profile(written(tmp_path, text))
    assert profile.memory_gb == 1.5
    assert profile.setup == ("module load a", "export B=c")
    assert profile.scratch == Path("/scratch")
    assert profile.options == {"mail-type": "END", "exclusive": True, "nice": 10}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitoin = 'gpu'", "unknown fields: partitoin (did you mean partition?)"),
        ("time = 3", "unknown fields: time (did you mean time_min?)"),
        ("time_min = 'long'", "time_min: Input should be a valid integer"),
        ("time_min = 0", "time_min must be at least 1, got 0"),
        ("gpus_per_node = -1", "gpus_per_node must be at least 0, got -1"),
        ("memory_gb = nan", "memory_gb must be above 0, got nan"),
        ("setup = 'module load a'", "setup: "),
        ("options = { '-p' = 'x' }", "options.-p is not a long option of sbatch"),
        ("partition = ", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_profile(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message


def test_no_profile_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such profile") as caught:
        read_profile(tmp_path / "cluster.toml")
    assert "slurm/example.toml" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="cannot read profile"):
        read_profile(tmp_path)
