import pytest

from disttrain import errors

CODES = {
    "DisttrainError": 1,
    "UsageError": 2,
    "RunFileError": 2,
    "DeviceError": 2,
    "LauncherError": 2,
    "DataError": 3,
    "CheckpointError": 3,
    "DamagedCheckpoint": 3,
    "Divergence": 4,
    "LostRanks": 5,
    "Corruption": 5,
    "Preempted": 75,
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_each_error_ends_a_command_with_its_documented_code(name: str, code: int) -> None:
    assert errors.exit_code_of(getattr(errors, name)("what")) == code


def test_every_error_is_listed_here() -> None:
    kinds = {n for n in errors.__all__ if n[0].isupper()}
    assert kinds == {*CODES, "RankFailure"}


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), MemoryError()])
def test_an_unexpected_error_is_1(error: BaseException) -> None:
    assert errors.exit_code_of(error) == 1


def test_a_rank_failure_carries_the_code_and_text_of_its_cause() -> None:
    error = errors.RankFailure(3, "opening data", "it is gone", 3)
    assert errors.exit_code_of(error) == 3
    assert str(error) == "rank 3 failed in opening data: it is gone"
    assert (error.rank, error.phase, error.cause) == (3, "opening data", "it is gone")


@pytest.mark.parametrize("name", ["RunFileError", "DeviceError", "LauncherError"])
def test_what_the_user_did_is_a_usage_error(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.UsageError)
